//! Looking into a model: images drawn from its latent space, and ways between two images.

pub mod law;
pub mod subject;

pub use law::Law;
pub use subject::Subject;
