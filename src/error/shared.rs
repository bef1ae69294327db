//! Errors of other libraries, which are not `Clone`.

use std::{error::Error, fmt, ops::Deref, sync::Arc};

use super::{Server, text};

/// An error of another library, shared between the clones of an [`Error`](crate::Error).
///
/// It dereferences to the error itself: `cause.kind()` of an [`io::Error`](std::io::Error), `cause.downcast_ref()` of
/// any other. Its `Display` shows that error and all its sources, joined by `: `, and nothing twice. Its `Debug` is that of
/// the error. Only its start is shown.
pub struct SharedError<E: ?Sized> {
    error: Arc<E>,
    /// Whom the attempt to connect was for that it ended.
    at: Option<Arc<Server>>,
}

impl<E> SharedError<E> {
    pub(crate) fn new(error: E) -> Self {
        Self { error: Arc::new(error), at: None }
    }
}

impl From<Box<dyn Error + Send + Sync>> for SharedError<dyn Error + Send + Sync> {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        Self { error: Arc::from(error), at: None }
    }
}

#[cfg(feature = "rustls-tls")]
impl<E: Error + Send + Sync + 'static> SharedError<E> {
    /// The same error without its type.
    pub(crate) fn erase(self) -> SharedError<dyn Error + Send + Sync> {
        SharedError { error: self.error, at: self.at }
    }
}

impl<E: ?Sized> SharedError<E> {
    pub(super) fn at(self, server: &Arc<Server>) -> Self {
        Self { at: Some(server.clone()), ..self }
    }

    /// ` with …`, if it ended an attempt to connect.
    pub(super) fn place(&self) -> String {
        self.at.as_ref().map(|server| format!(" with {server}")).unwrap_or_default()
    }
}

impl<E: ?Sized> Clone for SharedError<E> {
    fn clone(&self) -> Self {
        Self { error: Arc::clone(&self.error), at: self.at.clone() }
    }
}

impl<E: ?Sized> Deref for SharedError<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.error
    }
}

impl<E: Error + ?Sized> fmt::Display for SharedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.error.to_string();
        for source in sources(self.error.source()).map(ToString::to_string) {
            // Many libraries show their source in their own text.
            if !text.contains(&source) {
                text.push_str(": ");
                text.push_str(&source);
            }
        }
        f.write_str(&text)
    }
}

impl<E: fmt::Debug + ?Sized> fmt::Debug for SharedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            text::structure(&self.error, f)
        } else {
            text::of_library(&format_args!("{:?}", self.error), f)
        }
    }
}

/// `first` and the sources behind it.
fn sources<'a>(first: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(first, |&error| error.source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    #[test]
    fn all_sources_are_shown_and_none_twice() {
        for (texts, shown) in [
            (["dns error", "not found"], "dns error: not found"),
            (["dns error: not found", "not found"], "dns error: not found"),
            (["same", "same"], "same"),
        ] {
            let inner = Layer { text: texts[1], source: None };
            let outer = Layer { text: texts[0], source: Some(Box::new(inner)) };
            assert_eq!(SharedError::new(io::Error::other(outer)).to_string(), shown);
        }
    }
}
