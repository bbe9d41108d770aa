//! What is told of locks is what limitations show.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// Balances of which the newest lock change is not what they show, and changes that change nothing. For databases in which no definition was edited.
pub async fn lock_differences(session: &mut Conn) -> Vec<String> {
    session
        .query(
            "WITH told AS (
               SELECT l.id, l.subject_id, l.definition_id, l.lock_state,
                      LAG(l.lock_state, 1, IF(d.entitlement_type = 'state', d.lock_label, 'none')) OVER w AS before_it,
                      ROW_NUMBER() OVER (PARTITION BY l.subject_id, l.definition_id ORDER BY l.id DESC) AS age
                 FROM billing_entitlement_lock_changes AS l
                 JOIN billing_entitlement_definitions AS d ON d.id = l.definition_id
               WINDOW w AS (PARTITION BY l.subject_id, l.definition_id ORDER BY l.id))
             SELECT CONCAT('change ', t.id, ' changes nothing') FROM told AS t WHERE t.lock_state = t.before_it
             UNION ALL
             SELECT CONCAT_WS(' ', 'subject', s.subject_id, s.code, 'shows', s.shown, 'and told', s.told)
               FROM (SELECT b.subject_id, d.code,
                            IF(b.over_limit AND d.enforcement_mode = 'hard_lock_resource' OR d.entitlement_type = 'state' AND b.granted_amount = 0,
                               d.lock_label, 'none') AS shown,
                            COALESCE(t.lock_state, IF(d.entitlement_type = 'state', d.lock_label, 'none')) AS told
                       FROM billing_entitlement_balances AS b
                       JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
                       LEFT JOIN told AS t ON t.subject_id = b.subject_id AND t.definition_id = b.definition_id AND t.age = 1
                      WHERE b.history_no = 0) AS s
              WHERE s.shown <> s.told",
        )
        .await
        .unwrap()
}

/// What was told of locks so far, in its order: codes, and their new states.
pub async fn lock_changes(session: &mut Conn) -> Vec<(String, String)> {
    session
        .query(
            "SELECT d.code, l.lock_state FROM billing_entitlement_lock_changes AS l
               JOIN billing_entitlement_definitions AS d ON d.id = l.definition_id ORDER BY l.id",
        )
        .await
        .unwrap()
}
