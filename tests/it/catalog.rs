//! `consumable catalog`: the real program, files and all.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::database::TestDatabase;

/// Runs it; gives exit code, standard output and standard error.
fn catalog(url: &str, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_consumable"))
        .arg("catalog")
        .args(arguments)
        .env("DATABASE_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who finds a mistake before reading closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn shop() -> Value {
    json!({
        "definitions": [{"code": "seats.max", "name": "Seats \u{1b}[1m", "entitlementType": "capacity", "unit": "seat", "metadata": {"deep": {"rate": 0.5, "on": true}}}],
        "plans": [{"code": "pro", "name": "Pro", "providerPriceIds": ["price_a"], "entitlements": [{"code": "seats.max", "valueJson": {"max": 5}}]}],
        "products": [{"code": "pack", "name": "Pack", "entitlements": [{"code": "seats.max", "amount": 2, "grantKind": "one_off_topup", "metadataJson": {"a": 1}}]}],
    })
}

#[tokio::test]
async fn a_catalogue_moves_as_a_file_of_either_format() {
    let (here, elsewhere) = (TestDatabase::migrated().await, TestDatabase::migrated().await);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (code, out, err) = catalog(&here.gateway_url(), &["apply", "-"], &shop().to_string());
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("create plan pro\n    archived: false\n    entitlements seats.max plan_base: {"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "a name can make the terminal do things: {out}");
    assert!(
        out.ends_with("3 made, 0 changed, 0 unchanged, 4 not in the file.\n"),
        "{out}"
    );

    for (format, other) in [("json", "toml"), ("toml", "json")] {
        let (first, second) = (path(&format!("first.{format}")), path(&format!("second.{format}")));
        assert_eq!(catalog(&here.gateway_url(), &["export", &first], "").0, 0);
        let (code, out, _) = catalog(&here.gateway_url(), &["plan", "--check", &first], "");
        assert_eq!(
            (code, out.as_str()),
            (
                0,
                "0 would be made, 0 would be changed, 7 unchanged, 0 not in the file.\n"
            )
        );
        assert_eq!(catalog(&elsewhere.gateway_url(), &["apply", &first], "").0, 0);
        assert_eq!(catalog(&elsewhere.gateway_url(), &["export", &second], "").0, 0);
        let text = std::fs::read_to_string(&first).unwrap();
        assert_eq!(std::fs::read_to_string(&second).unwrap(), text);
        // The standard streams, and a format that the name does not say.
        let (code, out, _) = catalog(&here.gateway_url(), &["export", "--format", format], "");
        assert_eq!((code, out.as_str()), (0, text.as_str()));
        assert_eq!(
            catalog(
                &here.gateway_url(),
                &["plan", "--check", "--format", format, "-"],
                &text
            )
            .0,
            0
        );
        assert_eq!(
            catalog(&here.gateway_url(), &["plan", "--format", other, "-"], &text).0,
            1
        );
    }
}

#[tokio::test]
async fn a_plan_shows_and_an_apply_does() {
    let test = TestDatabase::migrated().await;
    let url = test.gateway_url();
    let document = shop().to_string();
    let (code, out, _) = catalog(&url, &["plan", "-"], &document);
    assert_eq!(code, 0);
    assert!(
        out.ends_with("3 would be made, 0 would be changed, 0 unchanged, 4 not in the file.\n"),
        "{out}"
    );
    assert!(out.contains("not in the file: definition projects.max\n"), "{out}");
    assert_eq!(catalog(&url, &["plan", "--check", "-"], &document).0, 1);
    assert_eq!(catalog(&url, &["apply", "-"], &document).0, 0);
    assert_eq!(catalog(&url, &["plan", "--check", "-"], &document).0, 0);

    let edit = json!({"plans": [{"code": "pro", "name": "Pro 2"}]}).to_string();
    let (code, out, _) = catalog(&url, &["apply", "-"], &edit);
    assert_eq!(code, 0);
    assert!(
        out.contains("update plan pro\n    name: \"Pro\" -> \"Pro 2\"\n"),
        "{out}"
    );
    assert!(
        out.ends_with("0 made, 1 changed, 0 unchanged, 6 not in the file.\n"),
        "{out}"
    );
    let (_, out, _) = catalog(&url, &["plan", "--json", "-"], &edit);
    let told: Value = serde_json::from_str(&out).unwrap();
    let row = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["code"] == "pro");
    assert_eq!(
        row,
        Some(
            &json!({"kind": "plan", "code": "pro", "action": "unchanged", "field": null, "before": null, "after": null})
        )
    );
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing() {
    let test = TestDatabase::migrated().await;
    let url = test.gateway_url();
    let (_, before, _) = catalog(&url, &["export"], "");
    let wrong = json!({"definitions": [{"code": "new.one"}], "plans": [{"code": "pro", "name": "Pro", "colour": 1}]})
        .to_string();
    for command in ["plan", "apply"] {
        let (code, out, err) = catalog(&url, &[command, "-"], &wrong);
        assert_eq!((code, out.as_str()), (1, ""));
        assert_eq!(
            err,
            "definitions[0].name: is required\ndefinitions[0].entitlementType: is required\ndefinitions[0].unit: is required\n\
             plans[0].colour: is not known here: code, name, archived, providerPriceIds and entitlements are\nNothing was changed.\n"
        );
    }
    let (code, out, _) = catalog(&url, &["apply", "--json", "-"], &wrong);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &told["problems"][0]),
        (
            1,
            &json!({"path": "definitions[0].name", "code": "VALIDATION_FAILED", "text": "is required"})
        )
    );

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (path, said) in [
        (file("a.json", "{"), "is not JSON"),
        (file("a.toml", "plans = ["), "is not TOML"),
        (
            file("b.toml", "plans = [{code = \"x\", name = nan}]"),
            "plans[0].name is NaN",
        ),
        (file("a.yaml", ""), "neither a .json nor a .toml file"),
        (folder.path().join("none.json").display().to_string(), "cannot read"),
        (folder.path().display().to_string() + "/.", "neither"),
    ] {
        let (code, _, err) = catalog(&url, &["apply", &path], "");
        assert!(code == 1 && err.contains(said), "{path}: {code} {err}");
    }
    assert_eq!(catalog(&url, &["apply"], "").0, 2);
    assert_eq!(catalog("mysql://u@localhost/x?socket=/nowhere", &["export"], "").0, 3);
    assert_eq!(catalog(&url, &["export"], "").1, before);

    // What TOML cannot say is refused, not lost.
    let null = json!({"definitions": [{"code": "ai.credits", "metadata": {"a": [null]}}]}).to_string();
    assert_eq!(catalog(&url, &["apply", "-"], &null).0, 0);
    let (code, _, err) = catalog(&url, &["export", "--format", "toml"], "");
    assert!(
        code == 1 && err.contains("definitions[0].metadata.a[0] is null, which TOML has not"),
        "{err}"
    );
}
