//! What a drill finds of databases that are out of the ordinary and honest: it must neither accuse nor flatter them.

use std::time::Duration;

use crate::common::postgres::Postgres;
use crate::common::seaweedfs;
use crate::common::service::{Ended, Service, Variables};
use crate::restore::{dump, gzip, on_bucket, one_error};

const LONG: Duration = Duration::from_secs(300);

fn drill(variables: &Variables, place: &str) -> Ended {
    Service::start(variables, &["verify", "--into", place]).end(LONG)
}

/// The backup of a database of that server, and its bucket and name.
fn backed_up(server: &Postgres, database: &str) -> (Variables, String, String) {
    let (bucket, variables) = on_bucket(server, database);
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let name = ended.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    (variables, bucket, name)
}

fn is_proven(ended: &Ended) -> serde_json::Value {
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    ended.event("backup proven")
}

/// Constraints that are not valid in every place where a server lets one be so.
const NOT_VALID: &str = r#"
    CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (a);
    CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (5);
    CREATE TABLE parent (a int);
    CREATE TABLE "Chi""ld x" () INHERITS (parent);
    CREATE TABLE grandchild (CONSTRAINT own CHECK (a < 1000)) INHERITS ("Chi""ld x");
    CREATE DOMAIN "My ""dom" AS int;
    CREATE TABLE t (a "My ""dom");
    CREATE TABLE ref (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE ref1 PARTITION OF ref FOR VALUES FROM (0) TO (10);
    CREATE TABLE child (r int);
    INSERT INTO p VALUES (1, 1);
    INSERT INTO grandchild VALUES (-1);
    INSERT INTO t VALUES (-1);
    INSERT INTO child VALUES (77);
    ALTER TABLE p ADD CONSTRAINT c CHECK (b > 5) NOT VALID;
    ALTER TABLE parent ADD CONSTRAINT "Weird "" (NOT VALID é" CHECK (a > 5) NOT VALID;
    ALTER DOMAIN "My ""dom" ADD CONSTRAINT pos CHECK (value > 0) NOT VALID;
    ALTER TABLE child ADD CONSTRAINT fk FOREIGN KEY (r) REFERENCES ref NOT VALID;
"#;

const NOT_VALID_SINCE_18: &str = "
    CREATE TABLE pp (a int, b int) PARTITION BY RANGE (a);
    CREATE TABLE pp1 PARTITION OF pp FOR VALUES FROM (0) TO (10);
    CREATE TABLE rr (id int PRIMARY KEY);
    CREATE TABLE i (a int);
    CREATE TABLE i2 () INHERITS (i);
    INSERT INTO pp VALUES (1, NULL);
    INSERT INTO i2 VALUES (NULL);
    ALTER TABLE pp ADD CONSTRAINT fk2 FOREIGN KEY (a) REFERENCES rr NOT VALID;
    ALTER TABLE pp ADD CONSTRAINT nn NOT NULL b NOT VALID;
    ALTER TABLE i ADD CONSTRAINT mine NOT NULL a NOT VALID;
    CREATE TABLE lax (a int, CONSTRAINT x CHECK (a > 0) NOT ENFORCED);
    INSERT INTO lax VALUES (-1);
";

fn what_was_not_checked_is_no_fault(major: u16) {
    let server = Postgres::start(major);
    server.psql("postgres", "CREATE DATABASE lax");
    server.psql("lax", NOT_VALID);
    if major >= 18 {
        server.psql("lax", NOT_VALID_SINCE_18);
    }
    let (variables, bucket, name) = backed_up(&server, "lax");
    for place in [server.url("postgres"), "embedded".to_owned()] {
        is_proven(&drill(&variables, &place));
    }
    // Another table's constraint of the same name, and one that is not declared so.
    let text = String::from_utf8(dump(&seaweedfs().get(&bucket, &name))).unwrap();
    let end = "--\n-- PostgreSQL database dump complete";
    let more = "ALTER TABLE public.ref1 ADD CONSTRAINT c CHECK (id > 0);\nALTER TABLE public.grandchild ADD CONSTRAINT fk CHECK (a < 7);\n\
        UPDATE pg_catalog.pg_constraint SET convalidated = false WHERE conrelid IN ('public.ref1'::regclass, 'public.grandchild'::regclass) AND conname IN ('c', 'fk', 'own');\n\n";
    let text = text.replacen(end, &format!("{more}{end}"), 1);
    seaweedfs().put(&bucket, &name, &gzip(text.as_bytes()));
    let ended = drill(&variables, &server.url("postgres"));
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let error = one_error(&ended);
    assert_eq!(error["kind"], "unproven");
    let said = error["error"].as_str().unwrap();
    assert!(
        said.ends_with("constraints that are not valid: public.grandchild.fk, public.grandchild.own, public.ref1.c"),
        "{said}"
    );
}

#[test]
fn what_the_source_had_not_checked_is_no_fault_of_its_backup_14() {
    what_was_not_checked_is_no_fault(14);
}

#[test]
fn what_the_source_had_not_checked_is_no_fault_of_its_backup_17() {
    what_was_not_checked_is_no_fault(17);
}

#[test]
fn what_the_source_had_not_checked_is_no_fault_of_its_backup_18() {
    what_was_not_checked_is_no_fault(18);
}
