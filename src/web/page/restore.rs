//! The commands that restore the newest backup.

use maud::{Markup, html};

use super::Setting;
use crate::board::{DrillOutcome, Status};
use crate::format::quoted;

pub(super) fn section(status: &Status, setting: &Setting) -> Markup {
    html! {
        section aria-labelledby="restore" {
            h2 id="restore" { "Get the data back" }
            @match status.newest() {
                Some(newest) => {
                    @let name = newest.name.to_string();
                    @if could_not_restore(status, &name) {
                        p.bad {
                            "The last drill could not restore this one. If it fails here too, take an older one from "
                            a href="#list" { "the list" } "."
                        }
                    }
                    h3 { "With this service\u{2019}s image and variables" }
                    p {
                        "The newest backup goes into a new database on the server that " code { "DATABASE_URL" }
                        " names. Nothing that exists there is touched."
                    }
                    (command(
                        "restore-by-command",
                        &format!("RESTORE_DATABASE_URL=\"$DATABASE_URL\" postgres-s3-backups restore {} --create", quoted(&name)),
                        "Copy the command of this service",
                    ))
                    h3 { "With the AWS CLI, gunzip and psql" }
                    p { "The newest backup goes into the empty database that " code { "DATABASE_URL" } " names." }
                    (command("restore-by-hand", &setting.restore(&newest.name), "Copy the restore command"))
                }
                None => p { "There is no backup to restore" @if status.listed_at.is_none() { " that is known yet" } "." }
            }
        }
    }
}

fn could_not_restore(status: &Status, name: &str) -> bool {
    status
        .last_drill
        .as_ref()
        .is_some_and(|drill| drill.outcome == DrillOutcome::Failed && drill.name == name)
}

/// A command to be selected, and where scripts run, copied. The script shows the button, and changes its words.
pub(super) fn command(id: &str, text: &str, label: &str) -> Markup {
    html! {
        div.command {
            pre tabindex="0" { code id=(id) { (text) } }
            button type="button" data-copy=(id) aria-label=(label) hidden { "Copy" }
        }
    }
}
