//! What a database is, to be compared with what it was.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

/// The database's tables, in their order.
pub async fn tables(session: &mut Conn) -> Vec<String> {
    let query = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME";
    session.query(query).await.unwrap()
}

/// Each table, procedure, trigger and event of the database as it was made, and who has rights on it.
pub async fn shape(session: &mut Conn) -> Vec<String> {
    let mut shape = Vec::new();
    for table in tables(session).await {
        let made: Option<Row> = session.query_first(format!("SHOW CREATE TABLE {table}")).await.unwrap();
        let text: String = made.unwrap().get(1).unwrap();
        // How many rows it has had says nothing of its shape.
        let words = text.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT="));
        shape.push(words.collect::<Vec<_>>().join(" "));
    }
    for query in [
        "SELECT CONCAT_WS(' ', ROUTINE_NAME, DEFINER, SHA2(ROUTINE_DEFINITION, 256)) FROM information_schema.ROUTINES
          WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY ROUTINE_NAME",
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY TRIGGER_NAME",
        "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY EVENT_NAME",
        "SELECT CONCAT_WS(' ', User, Table_name, Table_priv) FROM mysql.tables_priv WHERE Db = DATABASE() ORDER BY User, Table_name",
        "SELECT CONCAT_WS(' ', User, Select_priv, Insert_priv, Update_priv, Delete_priv, Execute_priv) FROM mysql.db
          WHERE REPLACE(Db, '\\\\', '') = DATABASE() ORDER BY User",
    ] {
        shape.extend(session.query::<String, _>(query).await.unwrap());
    }
    shape
}

/// All rows of each table, as text.
pub async fn rows(session: &mut Conn) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for table in tables(session).await {
        let found: Vec<Row> = session.query(format!("SELECT * FROM {table}")).await.unwrap();
        let text = |row: Row| {
            row.unwrap()
                .iter()
                .map(|value| value.as_sql(true))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut texts: Vec<String> = found.into_iter().map(text).collect();
        texts.sort();
        rows.insert(table, texts);
    }
    rows
}
