//! The chain of causes under an error, from the outermost to the deepest.

use std::error::Error;
use std::io;

/// An error and its causes. The error that a `std::io::Error` wraps is not one of its sources, but it is the cause that
/// matters.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| next(*cause))
}

fn next<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>() {
        Some(outer) => outer
            .get_ref()
            .map(|inner| -> &'a (dyn Error + 'static) { inner }),
        None => cause.source(),
    }
}

/// The first error of a type among the causes.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The causes in words, outermost first, each said once.
#[must_use]
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if !text.is_empty() && said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn what_an_error_of_io_wraps_is_found_and_everything_is_said_once() {
        let deepest = io::Error::new(io::ErrorKind::UnexpectedEof, "deepest");
        let error = Outer(io::Error::other(Outer(io::Error::other(deepest))));
        let kinds: Vec<io::ErrorKind> = causes(&error)
            .filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()))
            .collect();
        assert_eq!(
            kinds,
            [
                io::ErrorKind::Other,
                io::ErrorKind::Other,
                io::ErrorKind::UnexpectedEof
            ]
        );
        assert_eq!(words(&error), "outer: deepest");
        assert!(find::<Outer>(&error).is_some());
    }
}
