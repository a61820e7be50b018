//! libpq's own variables, where a URL says nothing.

use super::super::parameters::{Fate, Inherited, PARAMETERS, SETTINGS, ssl};
use super::Remark;
use super::pieces::Pieces;
use crate::fault::Wrong;
use crate::secret::Secret;

impl Pieces {
    /// Puts libpq's variables where the URL says nothing.
    pub(super) fn inherit(&mut self, inherited: &Inherited, warnings: &mut Vec<Remark>) {
        let has_host = self.hosts.iter().any(|host| !host.is_empty());
        // They belong to the server that PGHOST names: a password of one server is not for another.
        let elsewhere = has_host
            && inherited
                .get("PGHOST")
                .is_some_and(|host| host != self.hosts.join(","));
        for (name, value) in inherited.each() {
            let owned = || value.to_owned();
            let is_missing = match name {
                "PGHOST" => !has_host,
                "PGPORT" => self.ports.iter().all(String::is_empty),
                "PGUSER" => self.user.is_empty(),
                "PGPASSWORD" => self.password.is_none(),
                "PGDATABASE" => self.name.is_empty(),
                "PGHOSTADDR" => !self.parameters.contains_key("hostaddr"),
                "PGPASSFILE" => !self.parameters.contains_key("passfile"),
                _ => {
                    self.inherit_parameter(name, value);
                    continue;
                }
            };
            if !is_missing {
                continue;
            }
            if elsewhere {
                warnings.push(Remark::about(
                    name,
                    "is not used: PGHOST names another server than the URL does",
                ));
                continue;
            }
            match name {
                "PGHOST" => self.hosts = value.split(',').map(str::to_owned).collect(),
                "PGPORT" => self.ports = value.split(',').map(str::to_owned).collect(),
                "PGUSER" => self.user = owned(),
                "PGPASSWORD" => self.password = Some(Secret::new(owned())),
                "PGDATABASE" => self.name = owned(),
                _ => self.inherit_parameter(name, value),
            }
        }
        for (name, reason, remedy) in inherited.unused() {
            warnings.push(Remark::about(
                name,
                Wrong::new(format!("is not used: {reason}"), remedy),
            ));
        }
    }

    fn inherit_parameter(&mut self, variable: &'static str, value: &str) {
        if SETTINGS.contains(&variable) {
            self.parameters.insert(variable, value.to_owned());
            return;
        }
        let parameter = PARAMETERS
            .iter()
            .find(|parameter| parameter.variable == variable && parameter.fate == Fate::Given);
        let Some(parameter) = parameter else { return };
        // A driver's word for it in the URL counts as well.
        if parameter.name == "sslmode"
            && self.ssl.as_deref().is_some_and(|text| ssl(text).is_some())
        {
            return;
        }
        if !self.parameters.contains_key(parameter.name) {
            self.parameters.insert(parameter.name, value.to_owned());
            self.inherited.push(parameter.name);
        }
    }
}
