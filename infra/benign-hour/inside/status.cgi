#!/bin/sh
# A page of the load that is made by a shell for each request, as old status pages are.
printf 'Content-Type: text/plain\r\n\r\n'
uptime
df -h / | tail -1
