//! The answers of a store, of limited size and whole, before the SDK reads them.
//!
//! The SDK collects an answer however long it is, and says nothing if its XML breaks off: a list that was cut on the way
//! becomes a shorter list. So each answer is read here first, and one that is not whole is an error.
//!
//! The SDK needs only a few elements of each entry in a list, but it gives up the whole list if it can't read any one element.
//! So elements that can't be read or are not needed are removed here. At worst that entry is then missing, and not the list.

use std::borrow::Cow;
use std::error::Error;
use std::ops::Range;

use bytes::Bytes;
use chrono::DateTime;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use xmlparser::{ElementEnd, Token, Tokenizer};

use crate::fault::chain;

/// The longest answer that is read. S3 puts at most 1000 entries into a page of a list, and a key has at most 1024 bytes. If
/// every character of every key has to be escaped, that makes about seven megabytes.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The longest explanation of an error that is read; those of S3 have some hundred bytes.
const MOST_ERROR_BYTES: usize = 64 * 1024;

/// The most elements in an answer. Even for an empty element the SDK makes a record of several hundred bytes. An entry of a
/// list has some fifteen, and a page has 1000 entries.
const MOST_ELEMENTS: usize = 50_000;

/// How deep elements may be nested; those of S3 are at most six deep.
const MOST_DEPTH: usize = 32;

/// The root elements of the answers that are read.
const ROOTS: [&str; 6] = [
    "ListBucketResult",
    "ListMultipartUploadsResult",
    "InitiateMultipartUploadResult",
    "CompleteMultipartUploadResult",
    "LifecycleConfiguration",
    "Error",
];

/// Why an answer can't be used, although its status says success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// The connection ended too early.
    #[error("the connection broke off in the middle of the answer: {0}")]
    Broken(String),
    /// It is the beginning of an answer of S3.
    #[error("the answer breaks off in the middle: {0}")]
    Cut(String),
    /// It does not end.
    #[error("the answer is longer than {} MiB", MOST_BYTES / (1024 * 1024))]
    TooLong,
    /// It is something else.
    #[error("the answer is not what S3 sends: {0}")]
    NotS3(String),
}

/// Reads the body of an answer. If the request failed, its status says enough, so a body that can't be read is ignored.
///
/// # Errors
/// When it is too long, or not whole.
pub(super) async fn read<B>(body: B, failed: bool) -> Result<Bytes, Unusable>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if failed {
        return Ok(collect(body, MOST_ERROR_BYTES).await.unwrap_or_default());
    }
    let body = collect(body, MOST_BYTES).await?;
    if body.trim_ascii().is_empty() {
        return Ok(body);
    }
    readable(body)
}

async fn collect<B>(body: B, most: usize) -> Result<Bytes, Unusable>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unusable::TooLong),
        Err(error) => Err(Unusable::Broken(chain::words(error.as_ref()))),
    }
}

/// Returns the body if it is one XML document, whole to the end of its first element. Parts of a list's entries that the SDK
/// can't read are removed.
fn readable(body: Bytes) -> Result<Bytes, Unusable> {
    let mut text = String::from_utf8_lossy(&body);
    // Names may hold characters that XML may not, and some stores write them as they are.
    if !text.chars().all(is_of_xml) {
        let replaced = text
            .chars()
            .map(|c| if is_of_xml(c) { c } else { '\u{fffd}' });
        text = Cow::Owned(replaced.collect());
    }
    let mut needless = needless(&text)?.into_iter().peekable();
    if needless.peek().is_none() && matches!(text, Cow::Borrowed(_)) {
        drop(text);
        return Ok(body);
    }
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for range in needless {
        kept.push_str(text.get(from..range.start).unwrap_or_default());
        from = range.end;
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    Ok(kept.into())
}

const fn is_of_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// An element whose end has not been seen yet.
struct Open<'a> {
    name: (&'a str, &'a str),
    /// Where the element starts, and where its content does.
    start: usize,
    inside: usize,
}

/// Walks a document to its end, and returns the places in a list's entries that are not needed or can't be read.
fn needless(text: &str) -> Result<Vec<Range<usize>>, Unusable> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut needless = Vec::new();
    let mut root = None;
    let mut elements: usize = 0;
    let broken = |root: Option<&str>, what: String| {
        if root.is_some_and(|root| ROOTS.contains(&root)) {
            Unusable::Cut(what)
        } else {
            Unusable::NotS3(what)
        }
    };
    for token in Tokenizer::from(text) {
        let (closed, content, end) = match token {
            Err(error) => return Err(broken(root, error.to_string())),
            Ok(Token::ElementStart {
                prefix,
                local,
                span,
            }) => {
                elements = elements.saturating_add(1);
                if elements > MOST_ELEMENTS || open.len() >= MOST_DEPTH {
                    let what = "it holds more elements than a page of a list has";
                    return Err(Unusable::NotS3(what.to_owned()));
                }
                root.get_or_insert(local.as_str());
                open.push(Open {
                    name: (prefix.as_str(), local.as_str()),
                    start: span.start(),
                    inside: span.end(),
                });
                continue;
            }
            Ok(Token::ElementEnd { end, span }) => match end {
                ElementEnd::Open => {
                    if let Some(last) = open.last_mut() {
                        last.inside = span.end();
                    }
                    continue;
                }
                ElementEnd::Empty => match open.pop() {
                    Some(closed) => (closed, "", span.end()),
                    None => continue,
                },
                ElementEnd::Close(prefix, local) => match open.pop() {
                    Some(closed) if closed.name == (prefix.as_str(), local.as_str()) => {
                        let content = text.get(closed.inside..span.start());
                        (closed, content.unwrap_or_default(), span.end())
                    }
                    _ => return Err(broken(root, "an element has another's end".to_owned())),
                },
            },
            Ok(_) => continue,
        };
        let in_entry = matches!(open.as_slice(), [_, entry] if ENTRIES.contains(&entry.name.1));
        if in_entry && !is_needed(closed.name.1, content) {
            needless.push(closed.start..end);
        }
    }
    match open.last() {
        Some(_) => Err(broken(root, "an element has no end".to_owned())),
        None if root.is_none() => Err(Unusable::NotS3("it holds no element".to_owned())),
        None => Ok(needless),
    }
}

/// The text of an element that lies directly in the first one, such as `Region` in an `Error`; none if it holds anything
/// but plain text.
#[must_use]
pub(super) fn element(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let mut depth: usize = 0;
    let mut found = None;
    for token in Tokenizer::from(text) {
        match token.ok()? {
            Token::ElementStart { local, .. } => {
                depth = depth.saturating_add(1);
                found = (depth == 2 && local.as_str() == name).then(String::new);
            }
            Token::Text { text } => {
                if let Some(found) = &mut found {
                    found.push_str(text.as_str());
                }
            }
            Token::ElementEnd { end, .. } => match end {
                ElementEnd::Open => {}
                ElementEnd::Empty | ElementEnd::Close(..) => {
                    if let Some(found) = found.take() {
                        return Some(found);
                    }
                    depth = depth.saturating_sub(1);
                }
            },
            _ => {}
        }
    }
    None
}

/// The elements that are entries of a list.
const ENTRIES: [&str; 2] = ["Contents", "Upload"];

/// Whether an element of an entry is needed, and holds what the SDK can read.
fn is_needed(name: &str, content: &str) -> bool {
    match name {
        "Key" | "ETag" | "UploadId" => content.split('&').skip(1).all(is_reference),
        "Size" => content.parse::<i64>().is_ok(),
        "LastModified" | "Initiated" => {
            content.as_bytes().get(10) == Some(&b'T')
                && DateTime::parse_from_rfc3339(content).is_ok()
        }
        _ => false,
    }
}

/// Whether this text begins with something that may follow an `&`.
fn is_reference(text: &str) -> bool {
    let Some((name, _)) = text.split_once(';') else {
        return false;
    };
    let number = match name.strip_prefix('#') {
        None => return ["amp", "lt", "gt", "quot", "apos"].contains(&name),
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        },
    };
    number.ok().and_then(char::from_u32).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8]) -> Result<(), Unusable> {
        readable(Bytes::copy_from_slice(body)).map(drop)
    }

    #[test]
    fn what_cannot_be_read_of_an_entry_is_left_out_of_it() {
        let list = |entries: &str| {
            format!(
                "<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
            )
        };
        let kept = "<Contents><Key>k&amp;&#x1;&#13;</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.5Z</LastModified><ETag>&quot;e&quot;</ETag></Contents>";
        for (entries, left) in [
            (kept, kept),
            (
                "<Contents><Key>k</Key><Size>many</Size><Size/><LastModified>Thu, 1 Jan 2026</LastModified><Owner><ID>&no;</ID></Owner></Contents>",
                "<Contents><Key>k</Key></Contents>",
            ),
            (
                "<Contents><Key>a&b</Key><Size>1</Size></Contents><Contents><Key>&#x110000;</Key></Contents>",
                "<Contents><Size>1</Size></Contents><Contents></Contents>",
            ),
            (
                "<Contents><Key>a\u{1}b\u{ffff}</Key></Contents>",
                "<Contents><Key>a\u{fffd}b\u{fffd}</Key></Contents>",
            ),
            (
                "<Upload><Key>k</Key><UploadId>i</UploadId><Initiated>never</Initiated></Upload>",
                "<Upload><Key>k</Key><UploadId>i</UploadId></Upload>",
            ),
            // Not of an entry.
            ("<Owner><ID>x</ID></Owner>", "<Owner><ID>x</ID></Owner>"),
        ] {
            let read = readable(list(entries).into()).unwrap();
            assert_eq!(String::from_utf8_lossy(&read), list(left));
        }
        let read = readable(Bytes::from_static(
            b"<ListBucketResult><Contents><Key>\xff</Key></Contents></ListBucketResult>",
        ));
        assert!(String::from_utf8_lossy(&read.unwrap()).contains("<Key>\u{fffd}</Key>"));
    }

    const LIST: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix/>\
        <IsTruncated>false</IsTruncated><Contents><Key>a&amp;b&lt;ä</Key><Size>5</Size><Owner><ID>1</ID></Owner></Contents></ListBucketResult>\n";

    #[test]
    fn a_list_that_is_cut_anywhere_is_not_whole() {
        assert_eq!(check(LIST.as_bytes()), Ok(()));
        let whole = LIST.trim_end().len();
        for end in 1..whole {
            let cut = check(&LIST.as_bytes()[..end]);
            assert!(cut.is_err(), "{:?}", &LIST[..end.min(40)]);
            // As soon as it can be known for one of S3's, it may be whole the next time.
            let is_known = end >= LIST.find(" xmlns").unwrap();
            assert_eq!(
                matches!(cut, Err(Unusable::Cut(_))),
                is_known,
                "{end}: {cut:?}"
            );
        }
    }

    #[test]
    fn what_honest_stores_send_is_whole() {
        for text in [
            "<CompleteMultipartUploadResult/>",
            "<?xml version=\"1.0\"?>\n\n  \n<CompleteMultipartUploadResult xmlns=\"x\"><ETag>&quot;a&#34;</ETag></CompleteMultipartUploadResult>",
            "<s3:ListBucketResult xmlns:s3=\"x\"><s3:Name>a</s3:Name></s3:ListBucketResult>",
            "<ListBucketResult><!-- page --><Contents><Key><![CDATA[a]]></Key></Contents></ListBucketResult>",
            "<Error><Code>InternalError</Code></Error>",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
        // A page with all that S3 puts into an entry.
        let entry = "<Contents><Key>k</Key><LastModified>t</LastModified><ETag>e</ETag><ChecksumAlgorithm>c</ChecksumAlgorithm><ChecksumType>t</ChecksumType><Size>1</Size><StorageClass>s</StorageClass><Owner><ID>i</ID><DisplayName>d</DisplayName></Owner><RestoreStatus><IsRestoreInProgress>f</IsRestoreInProgress><RestoreExpiryDate>r</RestoreExpiryDate></RestoreStatus></Contents>";
        let page = format!(
            "<ListBucketResult>{}</ListBucketResult>",
            entry.repeat(1000)
        );
        assert_eq!(check(page.as_bytes()), Ok(()));
    }

    #[test]
    fn what_is_not_s3s_is_said_to_be_something_else() {
        for text in [
            "<!doctype html><title>oops</title><h1>oops",
            "<html><body><p>Sign in</body></html>",
            "{\"error\":\"no\"}",
            "\u{feff}",
            &format!(
                "<ListBucketResult>{}</ListBucketResult>",
                "<Contents/>".repeat(50_000)
            ),
            &"<a>".repeat(100),
        ] {
            let found = check(text.as_bytes());
            assert!(matches!(found, Err(Unusable::NotS3(_))), "{found:?}");
        }
    }

    #[test]
    fn an_element_of_an_error_is_read_and_one_deeper_or_elsewhere_is_not() {
        const ERROR: &str = "<?xml version=\"1.0\"?><Error xmlns=\"x\"><Code>C</Code><Region>eu-1</Region><Empty/><Deep><Bucket>b</Bucket></Deep><Bad>a<b/>c</Bad></Error>";
        let read = |name| element(ERROR.as_bytes(), name);
        assert_eq!(read("Region").as_deref(), Some("eu-1"));
        assert_eq!(read("Code").as_deref(), Some("C"));
        assert_eq!(read("Empty").as_deref(), Some(""));
        for name in ["Bucket", "Error", "Other", "Bad"] {
            assert_eq!(read(name), None, "{name}");
        }
        assert_eq!(element(b"<Error><Region>eu", "Region"), None);
        assert_eq!(element(b"\xff", "Region"), None);
    }
}
