-- refused: 1:62 «hop(t, INTERVAL '1 month', INTERVAL '2 months')» the slide of hop is in months, which differ in length; write it in days or less
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '1 month', INTERVAL '2 months');
