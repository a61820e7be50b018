//! ETags: the names that a store gives to what it holds.

/// The longest ETag that is kept. There can be 10,000 of them, one for each part. An ETag in S3's form, MD5s and a number, has
/// at most 38 characters.
pub(super) const MOST_ETAG_BYTES: usize = 256;

/// The beginning of a weak ETag.
pub(super) const WEAK: &str = "W/";

/// An ETag's text without the mark of a weak one.
pub(super) fn opaque(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix(WEAK).unwrap_or(etag).trim_matches('"')
}

/// An ETag without quotes, or unchanged if it is a weak one; empty if there is none.
pub(super) fn etag(text: Option<&str>) -> Result<String, String> {
    let text = text.unwrap_or_default().trim();
    let etag = if text.starts_with(WEAK) {
        text
    } else {
        text.trim_matches('"')
    };
    if etag.len() > MOST_ETAG_BYTES {
        return Err(format!("the ETag is longer than {MOST_ETAG_BYTES} bytes"));
    }
    Ok(etag.to_owned())
}
