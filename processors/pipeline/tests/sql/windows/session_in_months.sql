-- refused: 1:62 «session(t, INTERVAL '1 second', INTERVAL '1 month')» the greatest length of session is in months, which differ in length; write it in days or less
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '1 second', INTERVAL '1 month');
