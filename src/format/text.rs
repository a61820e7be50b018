//! Makes foreign text safe to show to people: names in a database, answers of servers, arguments. Such text can hold anything,
//! and must not pass itself off as something else.
//!
//! The rule is the same for the log, the terminal, the page and messages: nothing disappears. A character that can't be seen is
//! written as an escape.

use std::borrow::Cow;

/// Turns a text into one line of visible text. Control characters, line ends and characters that show nothing, or turn the
/// direction of a text, become escapes such as `\n` and `\u{1b}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c, visible| visible.extend(c.escape_default()))
}

/// Shortens a text to this many characters, with a mark where something was cut off. Secrets must be removed before the text is
/// cut, because half of a secret can't be found any more.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// Returns JSON with the same meaning in which every character can be seen. JSON itself allows most of the characters that
/// [`visible`] escapes. Line ends between its parts stay; inside a text JSON has escaped them already.
#[must_use]
pub fn visible_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c, visible| {
        if c == '\n' {
            visible.push(c);
            return;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            visible.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        if is_hidden(c) {
            escape(c, &mut visible);
        } else {
            visible.push(c);
        }
    }
    Cow::Owned(visible)
}

/// Control characters, and what Unicode calls format characters, separators of lines and of paragraphs, and "default
/// ignorable": they show nothing, and some change how the rest is shown. Spaces and combining marks do not count.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A name with everything in it that could do harm: it sets the title of a terminal, ends a line, forges a field and a
    /// line of the log, and turns the direction of what follows.
    pub(crate) const HOSTILE: &str = "t\u{1b}]0;title\u{7}\u{9b}2J\r\n2026-01-26T03:00:00.000000Z  INFO backup finished\u{2028}\u{202e}\" kind=\"x\\";

    /// What no person may be shown as it is: U+0000 to U+00FF but for what has ink, and the invisible ones beyond.
    pub(crate) fn harmful() -> impl Iterator<Item = char> {
        let controls = ('\0'..='\u{ff}').filter(|c| c.is_control());
        controls.chain(
            "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2064}\u{2065}\u{2066}\u{2067}\u{2068}\u{2069}\u{206f}\u{2800}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{fffb}\u{110bd}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\u{e007f}\u{e0100}\u{e01ef}"
                .chars(),
        )
    }

    #[test]
    fn whatever_is_in_it_it_is_one_line_of_visible_text() {
        for (text, shown) in [
            ("plain", "plain"),
            ("", ""),
            ("  a\r\n\tb  ", r"  a\r\n\tb  "),
            ("a\u{1b}[31mred\u{0}\u{7f}", r"a\u{1b}[31mred\u{0}\u{7f}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("x\u{202e}y\u{2028}z", r"x\u{202e}y\u{2028}z"),
            ("a\u{200b}b\u{e0041}", r"a\u{200b}b\u{e0041}"),
            // What has ink stays, and so do blanks and combining marks.
            (
                "ä ö é e\u{301} नी 日本 😀 \"'\\",
                "ä ö é e\u{301} नी 日本 😀 \"'\\",
            ),
            ("«\u{a0}x\u{a0}»\u{fffd}", "«\u{a0}x\u{a0}»\u{fffd}"),
            (
                HOSTILE,
                "t\\u{1b}]0;title\\u{7}\\u{9b}2J\\r\\n2026-01-26T03:00:00.000000Z  INFO backup finished\\u{2028}\\u{202e}\" kind=\"x\\",
            ),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
        }
    }

    #[test]
    fn nothing_harmful_is_shown_as_it_is_and_nothing_else_is_touched() {
        for c in harmful() {
            let text = format!("a{c}b");
            let shown = visible(&text);
            assert!(!shown.contains(c), "{c:?}");
            assert!(shown.starts_with("a\\") && shown.ends_with('b'), "{shown}");
        }
        for c in ('\0'..='\u{ff}').filter(|c| !harmful().any(|harm| harm == *c)) {
            assert_eq!(visible(&c.to_string()), c.to_string(), "{c:?}");
        }
    }

    #[test]
    fn json_means_the_same_and_every_character_of_it_can_be_seen() {
        for text in harmful()
            .map(String::from)
            .chain([HOSTILE.to_owned(), "ä😀".to_owned()])
        {
            let json = serde_json::to_string(&text).unwrap();
            let shown = visible_json(&json);
            assert_eq!(visible(&shown), shown, "{text:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }

    #[test]
    fn what_is_too_long_ends_in_a_mark() {
        for (text, short) in [
            ("abcdefghij", "abcdefghij"),
            ("abcdefghijk", "abcdefghi…"),
            ("ä ö ü ß é è", "ä ö ü ß é…"),
        ] {
            assert_eq!(shortened(text, 10), short);
        }
    }
}
