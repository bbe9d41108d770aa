//! The examples of `sql/README.md` run, and give what they say.

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use super::read;
use crate::support::database::TestDatabase;

/// What a line of an example begins with that says the row of the statement before it.
const SAYS: &str = "-- gives ";

/// The blocks of SQL in a page, each as statements with the line and the row that it says.
fn examples(page: &str) -> Vec<Vec<(usize, String, Option<String>)>> {
    let mut blocks = Vec::new();
    let mut block: Option<Vec<(usize, String, Option<String>)>> = None;
    let mut statement = String::new();
    for (index, line) in page.lines().enumerate() {
        match (&mut block, line) {
            (None, "```sql") => block = Some(Vec::new()),
            (None, _) => {}
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(statements), line) => {
                if let Some(says) = line.strip_prefix(SAYS) {
                    statements.last_mut().expect("a statement before what it gives").2 = Some(says.to_owned());
                } else if !line.starts_with("--") {
                    statement.push_str(line);
                    statement.push('\n');
                    if line.ends_with(';') {
                        statements.push((index + 1, std::mem::take(&mut statement), None));
                    }
                }
            }
        }
    }
    assert!(
        block.is_none() && statement.trim().is_empty(),
        "an example does not end"
    );
    blocks
}

fn cell(value: Value) -> String {
    match value {
        Value::NULL => "null".to_owned(),
        Value::Bytes(text) => String::from_utf8(text).unwrap(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        other => other.as_sql(true),
    }
}

#[tokio::test]
async fn the_examples_give_what_they_say() {
    let database = TestDatabase::migrated().await;
    let mut session = database.session().await;
    session.query_drop("CALL demonstration_seed_v1()").await.unwrap();
    let mut checked = 0;
    for (line, statement, says) in examples(&read("sql/README.md")).into_iter().flatten() {
        let rows: Result<Vec<Row>, _> = session.query(statement.as_str()).await;
        let given = match rows {
            Ok(rows) => rows
                .into_iter()
                .last()
                .map(|row| row.unwrap().into_iter().map(cell).collect::<Vec<_>>().join(", ")),
            Err(mysql_async::Error::Server(error)) => {
                Some(format!("ERROR {} ({}): {}", error.code, error.state, error.message))
            }
            Err(error) => panic!("sql/README.md:{line}: {error}"),
        };
        match says {
            Some(says) => {
                assert_eq!(given.as_deref(), Some(says.as_str()), "sql/README.md:{line}");
                checked += 1;
            }
            None => assert!(
                !given.is_some_and(|given| given.starts_with("ERROR ")),
                "sql/README.md:{line} fails"
            ),
        }
    }
    assert!(checked > 5, "only {checked} statements say what they give");
}
