//! Looking into a model: images drawn from its latent space, ways between two images, maps of where frames lie.

pub mod chart;
pub mod law;
pub mod still;
pub mod subject;
pub mod traverse;
pub mod usage;
pub mod way;

pub use law::{Law, Source};
pub use subject::Subject;
