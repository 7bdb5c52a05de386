-- warns of text-as-number: 1:101 «k > 5» `k > 5` compares text with a number: where `k` is none it is null; compare texts, '5', or say what is meant: TRY_CAST(k AS BIGINT)
-- warns of text-as-number: 2:49 «k BETWEEN 1 AND 3» `k BETWEEN 1 AND 3` compares text with a number: where `k` is none it is null; compare texts, '1', or say what is meant: TRY_CAST(k AS BIGINT)
-- warns of text-as-number: 3:49 «k IN (1, 2)» `k IN (1, 2)` compares text with a number: where `k` is none it is null; compare texts, '1', or say what is meant: TRY_CAST(k AS BIGINT)
-- plans
CREATE VIEW numbers AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev WHERE k > 5 GROUP BY k, win;
INSERT INTO sink SELECT k, c FROM numbers WHERE k BETWEEN 1 AND 3;
INSERT INTO sink SELECT k, c FROM numbers WHERE k IN (1, 2);
INSERT INTO sink SELECT k, n AS c FROM ev WHERE k > '5' AND n = '5' AND CAST(k AS BIGINT) > 5;
