//! What becomes of the batches that a dead process left prepared.

use tracing::info;

use super::Ledger;
use super::batch::Prepared;
use crate::error::Result;
use crate::report::writer::Store;

/// Settles prepared batches by what stands on disk. The first rename comes after every part is staged and synced, so a batch with
/// one published part can be completed; a batch with none is forgotten, and its files are found again. Then removes what had been
/// let go and still stands.
///
/// # Errors
/// [`crate::error::Kind::Io`].
pub fn settle(ledger: &mut Ledger, store: &mut Store) -> Result<()> {
    for Prepared { batch, parts, replaced } in ledger.prepared()? {
        let published = parts.iter().filter(|part| store.is_published(part)).count();
        if published == 0 {
            info!(batch, "batch was not finished, its files will be read again");
            ledger.abandon(batch)?;
            continue;
        }
        info!(batch, published, parts = parts.len(), "batch was finished but not acknowledged, completing it");
        for part in &parts {
            if !store.is_published(part) {
                store.publish(part)?;
            }
        }
        if replaced.is_empty() {
            ledger.commit(batch, &[])?;
        } else {
            store.remove(&replaced)?;
            ledger.commit_replacement(batch)?;
        }
    }
    store.remove(&ledger.retired()?)?;
    store.clear_staging()
}
