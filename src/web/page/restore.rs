//! The commands that restore the newest backup.

use maud::{Markup, html};

use super::Setting;
use crate::board::Status;
use crate::format::quoted;

pub(super) fn section(status: &Status, setting: &Setting) -> Markup {
    html! {
        section aria-labelledby="restore" {
            h2 id="restore" { "Get the data back" }
            @match status.newest() {
                Some(newest) => {
                    p { "The newest backup, into a new and empty database whose URL is in " code { "DATABASE_URL" } ". This service\u{2019}s own command makes a new database beside that one." }
                    h3 { "With the AWS CLI, gunzip and psql" }
                    (command("restore-by-hand", &setting.restore(&newest.name), "Copy the restore command"))
                    h3 { "With this service\u{2019}s image and variables" }
                    (command(
                        "restore-by-command",
                        &format!("RESTORE_DATABASE_URL=\"$DATABASE_URL\" postgres-s3-backups restore {} --create", quoted(&newest.name.to_string())),
                        "Copy the command of this service",
                    ))
                }
                None => p { "There is no backup to restore" @if status.listed_at.is_none() { " that is known yet" } "." }
            }
        }
    }
}

/// A command to be selected, and where scripts run, copied. The script shows the button, and changes its words.
fn command(id: &str, text: &str, label: &str) -> Markup {
    html! {
        div.command {
            pre tabindex="0" { code id=(id) { (text) } }
            button type="button" data-copy=(id) aria-label=(label) hidden { "Copy" }
        }
    }
}
