-- entitlement_window_at_v1: says which window of a definition contains an instant.
--
-- Called by    entitlement_settle_in_tx_v1; people.
-- Transaction  needs none, reads no table.
-- Locks        none.
-- Idempotency  pure: the same arguments give the same answer.
-- Parameters   p_window_interval  day, week (from Monday), month, year; null: a lifetime window
--              p_window_anchor    calendar_utc, billing_period, rolling; null with a null interval
--              p_anchor_at        UTC; start of the first billing period; read for billing_period only
--              p_at               UTC; the instant
--              p_window_start_at  out: UTC, included
--              p_window_end_at    out: UTC, excluded
--              A rolling limit has one row for ever: uses come back one by one, the window itself never ends.
-- Results      none.
-- Errors       none.
-- Cost         no rows.
CREATE PROCEDURE entitlement_window_at_v1(
  IN  p_window_interval VARCHAR(8),
  IN  p_window_anchor   VARCHAR(16),
  IN  p_anchor_at       DATETIME(3),
  IN  p_at              DATETIME(3),
  OUT p_window_start_at DATETIME(3),
  OUT p_window_end_at   DATETIME(3)
)
  NO SQL
  SQL SECURITY DEFINER
  COMMENT 'Which window of a definition contains an instant'
BEGIN
  DECLARE v_periods, v_days INT;
  DECLARE v_elapsed BIGINT;

  IF p_window_interval IS NULL OR p_window_anchor = 'rolling' THEN
    SET p_window_start_at = '1970-01-01 00:00:00.000', p_window_end_at = '9999-12-31 23:59:59.999';

  ELSEIF p_window_anchor = 'calendar_utc' THEN
    SET p_window_start_at = CASE p_window_interval
      WHEN 'day'   THEN DATE(p_at)
      WHEN 'week'  THEN DATE(p_at) - INTERVAL WEEKDAY(p_at) DAY
      WHEN 'month' THEN DATE(p_at) - INTERVAL DAYOFMONTH(p_at) - 1 DAY
      ELSE MAKEDATE(YEAR(p_at), 1)
    END;
    SET p_window_end_at = CASE p_window_interval
      WHEN 'day'   THEN p_window_start_at + INTERVAL 1 DAY
      WHEN 'week'  THEN p_window_start_at + INTERVAL 7 DAY
      WHEN 'month' THEN p_window_start_at + INTERVAL 1 MONTH
      ELSE p_window_start_at + INTERVAL 1 YEAR
    END;

  ELSEIF p_window_interval IN ('day', 'week') THEN
    -- DIV rounds towards zero, and before the anchor that is one period too late. (`/` would round to four decimals.)
    SET v_days = IF(p_window_interval = 'day', 1, 7);
    SET v_elapsed = TIMESTAMPDIFF(MICROSECOND, p_anchor_at, p_at);
    SET v_periods = v_elapsed DIV (v_days * 86400000000) - (v_elapsed < 0 AND v_elapsed MOD (v_days * 86400000000) <> 0);
    SET p_window_start_at = p_anchor_at + INTERVAL v_periods * v_days DAY;
    SET p_window_end_at = p_window_start_at + INTERVAL v_days DAY;

  ELSE
    -- Every period is counted from the anchor itself, never from the period before: 31 January, 28 February, 31 March.
    -- TIMESTAMPDIFF does not clamp as INTERVAL does, so its answer can be one off to either side.
    SET v_periods = TIMESTAMPDIFF(MONTH, p_anchor_at, p_at) DIV IF(p_window_interval = 'year', 12, 1) - 1;
    SET p_window_end_at = p_anchor_at + INTERVAL v_periods * IF(p_window_interval = 'year', 12, 1) MONTH;
    -- At most three rounds: it starts one or two periods early.
    WHILE p_window_end_at <= p_at OR p_window_start_at IS NULL DO
      SET v_periods = v_periods + 1, p_window_start_at = p_window_end_at;
      SET p_window_end_at = p_anchor_at + INTERVAL v_periods * IF(p_window_interval = 'year', 12, 1) MONTH;
    END WHILE;
  END IF;
END
