package dev.amoskys.peers;

import java.util.List;
import java.util.Properties;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.Metric;
import org.apache.flink.metrics.MetricConfig;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;
import org.apache.flink.metrics.reporter.Scheduled;

/** Prints `progress RECORDS`: what the source's subtasks have read, by Flink's own counters. */
public final class Progress implements MetricReporter, Scheduled {
    private final List<Counter> read = new CopyOnWriteArrayList<>();
    private long said = -1;

    /** What Flink's configuration names. */
    public static final class Factory implements MetricReporterFactory {
        @Override
        public MetricReporter createMetricReporter(Properties properties) {
            return new Progress();
        }
    }

    @Override
    public void open(MetricConfig config) {}

    @Override
    public void close() {
        report();
    }

    @Override
    public void notifyOfAddedMetric(Metric metric, String name, MetricGroup group) {
        String operator = group.getAllVariables().getOrDefault("<operator_name>", "");
        if (name.equals("numRecordsIn") && metric instanceof Counter && operator.startsWith("Source: ")) {
            read.add((Counter) metric);
        }
    }

    @Override
    public void notifyOfRemovedMetric(Metric metric, String name, MetricGroup group) {
        // A subtask that has ended has still read what it has read.
    }

    @Override
    public synchronized void report() {
        long records = read.stream().mapToLong(Counter::getCount).sum();
        if (records != said) {
            System.out.println("progress " + records);
            said = records;
        }
    }
}
