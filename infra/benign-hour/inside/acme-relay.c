// A small daemon of the load: writes a line every ten seconds. With -DHELPER a set-user-id program that says who runs it.
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void) {
#ifdef HELPER
    printf("acme-queue " VERSION ": empty, of %d as %d\n", (int)getuid(), (int)geteuid());
#else
    for (;;) {
        FILE *log = fopen("/var/log/acme-relay.log", "a");
        if (log) {
            fprintf(log, "%ld acme-relay " VERSION "\n", (long)time(NULL));
            fclose(log);
        }
        sleep(10);
    }
#endif
    return 0;
}
