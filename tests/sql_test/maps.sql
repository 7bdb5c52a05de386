-- Maps of records, by text keys.
CREATE EXTERNAL TABLE scored STORED AS PROTOBUF LOCATION 'amoskys.features.scored.v1'
OPTIONS (event_time 'window_end', lateness '1s', partition_key 'host_id');
CREATE EXTERNAL TABLE out_maps (host TEXT, execs DOUBLE, most DOUBLE) STORED AS JSON LOCATION 'out.maps';

INSERT INTO out_maps SELECT host_id AS host, features['execs'] AS execs FROM scored WHERE features['execs'] > 1;

INSERT INTO out_maps
SELECT host_id AS host, most FROM
  (SELECT host_id, tumble(window_end, INTERVAL '10 seconds') AS win, max(features['execs']) AS most
   FROM scored GROUP BY host_id, win);
