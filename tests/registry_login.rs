//! A schema registry that asks for a user and a password. The real one of the other tests asks nobody, so this is a server of the
//! interface's login alone: a status, a header, two answers.

// Each test file uses a part of it.
#[allow(dead_code)]
mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

const SCHEMA: &str =
    r#"{\"type\": \"record\", \"name\": \"E\", \"fields\": [{\"name\": \"host\", \"type\": \"string\"}]}"#;

/// Answers whoever says that it is `me:secret`.
fn serve(listener: &TcpListener) {
    for connection in listener.incoming() {
        let Ok(mut connection) = connection else { return };
        let mut head = Vec::new();
        for line in BufReader::new(&connection).lines().map_while(Result::ok) {
            if line.is_empty() {
                break;
            }
            head.push(line);
        }
        let is_known = head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Basic bWU6c2VjcmV0"));
        let (status, body) = match (is_known, head[0].as_str()) {
            (false, _) => ("401 Unauthorized", String::new()),
            (true, "GET /subjects/t-value/versions HTTP/1.1") => ("200 OK", "[1]".to_owned()),
            (true, "GET /subjects/t-value/versions/1 HTTP/1.1") => {
                ("200 OK", format!(r#"{{"subject": "t-value", "version": 1, "id": 1, "schema": "{SCHEMA}"}}"#))
            }
            (true, other) => panic!("{other}"),
        };
        let length = body.len();
        write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .expect("answers");
    }
}

#[test]
fn a_user_and_a_password_open_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || serve(&listener));
    let folder = tempfile::tempdir().expect("a folder");
    let sql = format!(
        "CREATE EXTERNAL TABLE t STORED AS AVRO LOCATION 't' OPTIONS (registry 'http://{address}');
         CREATE EXTERNAL TABLE o (host TEXT) STORED AS JSON LOCATION 'o';
         -- allow: untested
         INSERT INTO o SELECT host FROM t;"
    );
    fs::write(folder.path().join("a.sql"), sql).expect("writes");
    let check = |login: Option<&str>| {
        let mut command = common::amoskys();
        command.args(["sql", "check"]).arg(folder.path());
        if let Some(login) = login {
            command.env("AMOSKYS_REGISTRY_AUTH", login);
        }
        let output = command.output().expect("runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, told) = check(Some("me:secret"));
    assert!(code == Some(0) && told.contains("1 stream, 1 INSERT: no problem"), "{told}");
    for login in [None, Some("me:wrong")] {
        let (code, told) = check(login);
        let words = "refuses: 401 Unauthorized; AMOSKYS_REGISTRY_AUTH holds user:password";
        assert!(code == Some(2) && told.contains(words), "{told}");
    }
}
