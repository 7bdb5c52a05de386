package dev.amoskys.peers;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Runs the statements of a file with Flink's SQL in this JVM (its MiniCluster) and waits for the last one's job.
 *
 * <p>Arguments: the file, then settings as KEY=VALUE by Flink's names. Statements end with a semicolon at a line's end.
 * {@link Progress} prints how far the job is. Measures nothing.
 */
public final class Job {
    private Job() {}

    public static void main(String[] arguments) {
        try {
            run(arguments);
        } catch (Throwable failure) {
            failure.printStackTrace();
            System.exit(1);
        }
        // Flink's threads would keep the JVM.
        System.exit(0);
    }

    private static void run(String[] arguments) throws Exception {
        Configuration settings = new Configuration();
        for (int i = 1; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            settings.setString(pair[0], pair[1]);
        }
        settings.setString("metrics.reporters", "progress");
        settings.setString("metrics.reporter.progress.factory.class", Progress.Factory.class.getName());
        settings.setString("metrics.reporter.progress.interval", "100 ms");
        TableEnvironment tables = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        for (String statement : Files.readString(Path.of(arguments[0])).split(";\\s*\n")) {
            if (statement.isBlank()) {
                continue;
            }
            var result = tables.executeSql(statement);
            if (result.getJobClient().isPresent()) {
                result.await();
            }
        }
    }
}
