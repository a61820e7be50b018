//! The commands that restore the newest backup.

use maud::{Markup, html};

use crate::backup::restore_command;
use crate::board::{DrillOutcome, Status};

pub(super) fn section(status: &Status) -> Markup {
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
                    p {
                        "The newest backup goes into a new database " code { "restored" } " on the server that " code { "RESTORE_DATABASE_URL" }
                        " names, as a user who may create databases. Nothing that exists there is touched."
                    }
                    (command("restore-newest", &restore_command(&newest.name), "Copy the restore command"))
                    p {
                        "With Docker, put what follows the program\u{2019}s name behind the image: "
                        code { "docker run --rm --env-file .env -e RESTORE_DATABASE_URL IMAGE restore …" }
                        ". Without the image, aws, gunzip and psql restore it too; the page docs/restore-by-hand.md says how."
                    }
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
