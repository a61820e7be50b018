//! The form in which a receiver accepts an alert. Foreign text in it is made harmless (pure).

use serde_json::json;

use super::message::Alert;
use crate::format::text::shortened;
use crate::watch::webhook::Address;

/// What a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Slack,
    Discord,
}

impl Form {
    pub(super) fn of(address: &Address) -> Self {
        let host = address.host();
        let is = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
        if is("hooks.slack.com") || is("hooks.slack-gov.com") {
            Self::Slack
        } else if (is("discord.com") || is("discordapp.com")) && address.path().starts_with("/api/")
        {
            // Discord also accepts Slack's form, at another address.
            if address.path().trim_end_matches('/').ends_with("/slack") {
                Self::Slack
            } else {
                Self::Discord
            }
        } else {
            Self::Json
        }
    }
}

/// The body in this form. No name of a table and no message of a server in it can notify anybody or look like a link.
pub(super) fn body(alert: &Alert, form: Form) -> String {
    /// Slack asks for no more than 4,000 characters.
    const MOST_FOR_SLACK: usize = 3000;
    match form {
        Form::Slack => {
            let text = shortened(&alert.text, MOST_FOR_SLACK);
            let text = unlinked(&text)
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            json!({"text": text, "mrkdwn": false, "unfurl_links": false}).to_string()
        }
        Form::Discord => {
            /// Links are shown without a preview.
            const SUPPRESS_EMBEDS: u32 = 4;
            json!({"content": for_discord(&alert.text), "allowed_mentions": {"parse": []}, "flags": SUPPRESS_EMBEDS}).to_string()
        }
        Form::Json => {
            // Mattermost and others like it read `text` as a message.
            let text = unlinked(&alert.text)
                .replace('<', "<\u{200b}")
                .replace("](", "]\u{200b}(");
            serde_json::to_string(&Alert {
                text,
                ..alert.clone()
            })
            .unwrap_or_default()
        }
    }
}

/// Text in which no receiver finds a URL to make a link of, or a person to notify: a zero-width space breaks them.
fn unlinked(text: &str) -> String {
    text.replace('@', "@\u{200b}")
        .replace("://", ":\u{200b}//")
        .replace("www.", "www\u{200b}.")
        .replace("WWW.", "WWW\u{200b}.")
}

/// Text without Markdown, cut to the length that Discord accepts.
pub(super) fn for_discord(text: &str) -> String {
    const MOST: usize = 2000;
    let mut written = String::new();
    let mut length: usize = 0;
    for c in text.chars() {
        let escaped = "\\*_~`|<>[]()#@:".contains(c);
        length = length
            .saturating_add(c.len_utf16())
            .saturating_add(usize::from(escaped));
        if length >= MOST {
            written.push('…');
            break;
        }
        if escaped {
            written.push('\\');
        }
        written.push(c);
    }
    written
}
