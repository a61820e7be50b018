//! An object that was looked up, so that what is read later is this very one.

use super::ReadError;
use crate::dump::label::Head;
use crate::store::Store;

/// One object as it was found; what is read later is this very one, or there is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: String,
    /// Whether it may have another name than its own.
    pub may_be_renamed: bool,
}

impl Found {
    /// Looks an object up.
    ///
    /// # Errors
    /// What the store answered; [`ReadError::Missing`] when it is not there.
    pub async fn look_up(store: &Store, key: &str) -> Result<Self, ReadError> {
        let head = store.head(key).await?.ok_or(ReadError::Missing)?;
        Ok(Self {
            key: key.to_owned(),
            size: head.size,
            etag: head.etag,
            may_be_renamed: false,
        })
    }

    /// The same, with leave to have another name than the one it was made under.
    #[must_use]
    pub fn perhaps_renamed(self, may_be_renamed: bool) -> Self {
        Self {
            may_be_renamed,
            ..self
        }
    }

    /// Whether it is under the name that it says is its own. The folder may be another.
    pub(super) fn has_name_of(&self, head: &Head) -> bool {
        file_name(&self.key) == file_name(&head.name)
    }
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}
