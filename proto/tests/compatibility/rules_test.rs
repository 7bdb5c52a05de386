//! Each rule finds what it is for, and lets pass what Buf lets pass.

use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::rules::broken;

struct Inline(String);

impl FileResolver for Inline {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "t.proto" { File::from_source(name, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}

fn compiled(body: &str) -> DescriptorPool {
    let source = if body.contains("package") { body.to_owned() } else { format!("package t; {body}") };
    let mut resolver = ChainFileResolver::new();
    resolver.add(Inline(format!("syntax = \"proto3\"; {source}")));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("t.proto").expect("the test's schema compiles");
    DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set()).expect("the test's schema is complete")
}

#[track_caller]
fn check(before: &str, after: &str, expect: &[&str]) {
    assert_eq!(broken(&compiled(before), &compiled(after), "t."), expect);
}

/// The same for the fields of one message.
#[track_caller]
fn check_fields(before: &str, after: &str, expect: &[&str]) {
    check(&format!("message M {{ {before} }}"), &format!("message M {{ {after} }}"), expect);
}

#[test]
fn nothing_changed() {
    let all = "string a = 1; optional int32 b = 2; map<string, M> c = 3; oneof o { int32 d = 4; } reserved 7; reserved \"x\";";
    check_fields(all, all, &[]);
}

#[test]
fn what_is_added_breaks_nothing() {
    check_fields("string a = 1;", "string a = 1; int32 b = 2; oneof o { int32 c = 3; }", &[]);
    check("enum E { A = 0; }", "enum E { A = 0; B = 1; } message New {}", &[]);
}

#[test]
fn a_field_removed() {
    check_fields(
        "string a = 1; int32 b = 2;",
        "string a = 1;",
        &["t.M.b = 2 was removed without reserving its number", "t.M.b = 2 was removed without reserving its name"],
    );
    check_fields("int32 b = 2;", "reserved 2;", &["t.M.b = 2 was removed without reserving its name"]);
    check_fields("int32 b = 2;", "reserved \"b\";", &["t.M.b = 2 was removed without reserving its number"]);
    check_fields("int32 b = 2;", "reserved 2; reserved \"b\";", &[]);
}

#[test]
fn a_field_with_another_number() {
    check_fields(
        "int32 a = 1;",
        "int32 a = 2;",
        &["t.M.a = 1 was removed without reserving its number", "t.M.a = 1 was removed without reserving its name"],
    );
}

#[test]
fn a_field_with_another_name() {
    check_fields(
        "int32 a = 1;",
        "int32 b = 1;",
        &["t.M.a = 1 is now called \"b\"", "t.M.a: its name in JSON was \"a\", is \"b\""],
    );
    check_fields("int32 a = 1;", "int32 a = 1 [json_name = \"z\"];", &["t.M.a: its name in JSON was \"a\", is \"z\""]);
}

#[test]
fn a_field_of_another_type() {
    check_fields("int32 a = 1;", "string a = 1;", &["t.M.a: was int32, is string"]);
    check_fields("int32 a = 1;", "int64 a = 1;", &["t.M.a: was int32, is int64"]);
    check_fields("int32 a = 1;", "sint32 a = 1;", &["t.M.a: was int32, is sint32"]);
    check_fields("string a = 1;", "bytes a = 1;", &["t.M.a: was string, is bytes"]);
    check_fields("int32 a = 1; fixed64 b = 2;", "uint32 a = 1; sfixed64 b = 2;", &[]);
    check(
        "message A {} message B {} enum E { X = 0; } message M { A a = 1; E e = 2; }",
        "message A {} message B {} enum E { X = 0; } message M { B a = 1; int32 e = 2; }",
        &["t.M.a: was t.A, is t.B", "t.M.e: was t.E, is int32"],
    );
}

#[test]
fn a_field_of_another_cardinality() {
    check_fields("int32 a = 1;", "repeated int32 a = 1;", &["t.M.a: was singular, is repeated"]);
    check_fields("int32 a = 1;", "optional int32 a = 1;", &["t.M.a: was singular, is singular with presence"]);
    check_fields(
        "map<string, int32> a = 1;",
        "repeated E a = 1; message E { string key = 1; int32 value = 2; }",
        &["t.M.a: was a map, is repeated", "t.M.a: was t.M.AEntry, is t.M.E"],
    );
}

#[test]
fn a_map_with_other_entries() {
    check_fields(
        "map<string, int32> a = 1;",
        "map<string, string> a = 1;",
        &["t.M.AEntry.value: was int32, is string"],
    );
    check_fields("map<int32, int32> a = 1;", "map<string, int32> a = 1;", &["t.M.AEntry.key: was int32, is string"]);
}

#[test]
fn a_field_in_or_out_of_a_oneof() {
    check_fields(
        "int32 a = 1; int32 b = 2;",
        "oneof o { int32 a = 1; int32 b = 2; }",
        &[
            "t.M.a: was singular, is singular with presence",
            "t.M.a: was in oneof None, is in Some(\"o\")",
            "t.M.b: was singular, is singular with presence",
            "t.M.b: was in oneof None, is in Some(\"o\")",
        ],
    );
    check_fields(
        "oneof o { int32 a = 1; int32 b = 2; }",
        "oneof p { int32 a = 1; } oneof o { int32 b = 2; }",
        &["t.M.a: was in oneof Some(\"o\"), is in Some(\"p\")"],
    );
}

#[test]
fn reservations_given_up() {
    check_fields(
        "reserved 5, 6; reserved \"x\";",
        "reserved 5;",
        &["t.M: number 6 is no longer reserved", "t.M: name \"x\" is no longer reserved"],
    );
    check_fields("reserved 5;", "int32 a = 5;", &["t.M: number 5 was reserved and is used again"]);
}

#[test]
fn messages_and_packages() {
    check("message A {} message B {}", "message A {}", &["message t.B was removed or moved to another package"]);
    check("message A {}", "package u; message A {}", &["message t.A was removed or moved to another package"]);
    check(
        "message A { message In {} enum E { X = 0; } }",
        "message A {}",
        &[
            "message t.A.In was removed or moved to another package",
            "enum t.A.E was removed or moved to another package",
        ],
    );
}

#[test]
fn values_of_an_enum() {
    check(
        "enum E { A = 0; B = 1; }",
        "enum E { A = 0; }",
        &["t.E: B = 1 was removed without reserving its number", "t.E: B = 1 was removed without reserving its name"],
    );
    check("enum E { A = 0; B = 1; }", "enum E { A = 0; reserved 1; reserved \"B\"; }", &[]);
    check("enum E { A = 0; B = 1; }", "enum E { A = 0; C = 1; }", &["t.E: B = 1 has another name"]);
}
