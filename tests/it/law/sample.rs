//! A procedure that keeps all laws, so that each law can be seen to find the one that does not.

use super::Findings;
use super::procedure::Procedure;

const KEEPS_ALL: &str = "\
-- test_use_v1: uses something, once.
--
-- Called by    nobody.
-- Transaction  owns it.
-- Locks        the balance row.
-- Idempotency  none.
-- Parameters   p_id  the subject
-- Results      none.
-- Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND.
-- Cost         one row.
CREATE PROCEDURE test_use_v1(
  IN p_id BIGINT
)
  MODIFIES SQL DATA
  SQL SECURITY DEFINER
  COMMENT 'Uses something'
BEGIN
  DECLARE v_id BIGINT;
  DECLARE v_rounds INT DEFAULT 0;

  IF p_id IS NULL THEN
    SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: id: must be there';
  END IF;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT b.subject_id INTO v_id
      FROM billing_entitlement_balances AS b
     WHERE b.subject_id = p_id AND b.definition_id = 1 AND b.history_no = 0
       FOR UPDATE;
    IF v_id IS NULL THEN
      SIGNAL SQLSTATE '45101' SET MYSQL_ERRNO = 52101, MESSAGE_TEXT = 'SUBJECT_NOT_FOUND: no billable entity has this id';
    END IF;
    WHILE v_rounds < 3 DO
      SET v_rounds = v_rounds + 1;
    END WHILE;
    UPDATE billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
      JOIN billable_entities AS e ON e.id = b.subject_id
       SET b.held_amount = 1
     WHERE b.subject_id = v_id;
    COMMIT;
  END;
END
";

/// What `law` says of the sample with `kept` replaced by `broken`.
fn said(law: fn(&Procedure, &mut Findings), kept: &str, broken: &str) -> String {
    assert!(KEEPS_ALL.contains(kept), "the sample lacks {kept:?}");
    let text = KEEPS_ALL.replace(kept, broken);
    let mut findings = Findings::default();
    law(&Procedure::parse("sql/test/test_use_v1.sql", &text), &mut findings);
    findings.0.join("\n")
}

/// Checks that `law` is content with the sample, and says each of these things when it is changed so:
/// what is there, what stands there instead, a part of what the law says.
pub fn law_finds(law: fn(&Procedure, &mut Findings), cases: &[(&str, &str, &str)]) {
    assert_eq!(said(law, "", ""), "", "of the sample itself");
    for (kept, broken, expected) in cases {
        let said = said(law, kept, broken);
        assert!(
            said.contains(expected),
            "{broken:?} gives {said:?}, without {expected:?}"
        );
    }
}
