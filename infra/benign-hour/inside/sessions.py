"""What people type in the hour: an admin, Ann, and a developer, Ben. In this order, one session after the other.

What looks like each of the detections that ship is in here or in `house.cron`; the recording's README says which does for which.
Deliberately not here: how it is typed (`terminal.py`), when (`day.py`).
"""

PASSWORD = b"correct-horse-ann"


def asks(text):
    """A line for which sudo asks the password of who types."""
    return (text, [(b"password for ann", PASSWORD)])


MORNING = [
    "w", "uptime", "df -h", "free -m", "ps aux --sort=-rss | head -5", "ss -tln", "last -3", "id", asks("sudo -v"),
    "sudo tail -n 5 /var/log/auth.log", "sudo dpkg -l | tail -3", "sudo passwd -S ann", "uname -a", "hostname",
]
PEOPLE = [
    asks("sudo useradd -m -s /bin/bash dora"),
    "echo dora:battery-staple | sudo chpasswd",
    "sudo passwd -S dora", "sudo chage -M 90 dora", "sudo chage -l dora", "sudo usermod -aG www-data dora",
    "getent passwd dora", "sudo -u dora -i whoami", ("su - dora -c id", [(b"Password:", b"battery-staple")]),
    "sudo grpck -r", "sudo pwck -r | head -3", "sudo groupadd site", "sudo gpasswd -a ann site", "sg site -c id", "sudo su - dora -c 'echo hi'",
    "sudo groupdel site", "sudo userdel -r dora",
]
INSTALL = [
    asks("sudo apt-get update"),
    "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y redis-server",
    "redis-cli set visits 1", "redis-cli incr visits",
    "sudo apt-get install -y bc jq makeself lua5.4",
    "echo '{\"a\": [1, 2]}' | jq .a", "echo 2^64 | bc",
    "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y popularity-contest sysstat",
    "sudo apt-get install -y acme-relay=1.0", "pgrep -a acme-relay", "sudo /usr/bin/acme-queue",
]
UPGRADE = [
    asks("sudo apt-get update"), "apt list --upgradable",
    "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y acme-relay",
    "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y --reinstall nginx-light nginx-common",
    "curl -sI http://127.0.0.1/page-1.html | head -1",
    "sudo DEBIAN_FRONTEND=noninteractive apt-get upgrade -y",
    "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y --reinstall openssh-server cron sudo",
    "sudo service acme-relay status; pgrep -a nginx",
]
BACKUP = [
    asks("sudo tar czf /var/backups/etc-before.tgz /etc"),
    "sudo find /usr /etc -xdev -perm -4000 -ls", "sudo rsync -a /etc/ /var/backups/etc/",
    "sudo cp -a /etc/nginx /etc/nginx.before", "sudo tar tzf /var/backups/etc-before.tgz | wc -l",
    "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_new", "rm ~/.ssh/id_new*",
    "sudo du -sh /var/log /var/backups", "sudo find /var/log -name '*.gz' -mtime +30 -delete",
    "mkdir -p ~/restore && sudo tar xzf /var/backups/etc-before.tgz -C ~/restore && sudo rm -rf ~/restore",
]
WEB = [
    asks("sudo sed -i 's/worker_processes .*/worker_processes 1;/' /etc/nginx/nginx.conf"), "sudo nginx -t", "sudo service nginx reload",
    "curl -s http://127.0.0.1/cgi-bin/status.cgi", "sudo sed -i 's/# gzip_types/gzip_types/' /etc/nginx/nginx.conf",
    "sudo nginx -t && sudo service nginx reload", "sudo tail -2 /var/log/nginx/access.log", "sudo logrotate -f /etc/logrotate.d/nginx",
    "sudo lsof -i -P -n | head -5", "sudo service fcgiwrap restart",
]
TRACING = [
    asks("sudo timeout 2 strace -f -c -p $(pgrep -o nginx)"),
    "sudo strace -o /dev/null ls /srv", "sudo gdb -batch -ex bt -p $(pgrep -o atd)",
    "printf 'int main(void) { int sum = 0; for (int i = 0; i < 9; i++) sum += i; return sum; }' > sum.c && gcc -g -o sum sum.c",
    "gdb -batch -ex 'break main' -ex run -ex next -ex 'set var sum = 7' -ex continue ./sum", "rm sum sum.c",
    "timeout 2 tmux new-session -d -s ann", "tmux new-session -d -s work 'sleep 20'", "tmux new-window -t work", "tmux send-keys -t work 'id' Enter",
    "tmux list-windows -t work", "tmux kill-server",
]
HOUSE = [
    "makeself --quiet ~/tool ~/tool.run 'tool of the house' ./setup.sh",
    asks("sudo sh ~/tool.run"), "tool-of-the-house",
    "sudo apt-get install -y opendoas", "echo 'permit nopass ann' | sudo tee /etc/doas.conf", "sudo chmod 600 /etc/doas.conf", "doas id",
    "doas tail -1 /var/log/syslog", "echo '15 4 * * * tar czf ~/mine.tgz ~/.bashrc' | crontab -", "crontab -l", "crontab -r",
    "echo true | at now + 1 minute", "atq", "sudo systemctl enable atd", "sudo systemctl disable sysstat-collect.timer",
]
# What makes the installer of the house: a script and a program, in one file.
TOOL = [
    "mkdir -p ~/tool", "printf 'int main(void) { return 0; }' > probe.c && gcc -o ~/tool/probe probe.c && rm probe.c",
    "printf '#!/bin/sh\\n./probe && printf \"#!/bin/sh\\\\necho tool\\\\n\" > /usr/local/bin/tool-of-the-house\\nchmod 755 /usr/local/bin/tool-of-the-house\\n' > ~/tool/setup.sh",
    "chmod 755 ~/tool/setup.sh",
]
REMOVE = [
    asks("sudo DEBIAN_FRONTEND=noninteractive apt-get remove -y redis-server"),
    "sudo DEBIAN_FRONTEND=noninteractive apt-get purge -y acme-relay popularity-contest",
    "sudo apt-get install -y fuse3 crun memcached", "fusermount3 -V", "crun --version | head -1", "sudo apt-get autoremove -y",
    "sudo apt-get clean", "sudo dpkg --audit", "sudo dpkg --verify nginx-common | head",
]
ANN = [MORNING, PEOPLE, INSTALL, BACKUP, UPGRADE, WEB, TRACING, TOOL + HOUSE, REMOVE]

BEGIN = [
    "mkdir -p ~/zlib && tar xf /srv/src/zlib_*.orig.tar.* -C ~/zlib --strip-components=1", "cd ~/zlib && git init -q && git add -A && git commit -qm start",
    "git log --oneline | head", "./configure --static", "make -s", "make -s test", "git status --short | head -5",
    "printf '*.o\\n*.a\\n*.lo\\n*.so*\\n*.log\\n*.pc\\n/example*\\n/minigzip*\\n' > .gitignore && git add .gitignore && git commit -qm ignore",
]
SHARE = [
    "cd /srv/www && git init -q && git add -A && git commit -qm pages", "sudo -n true || true",
    "git init -q --bare ~/site.git && cd /srv/www && git remote add origin ~/site.git && git push -q -u origin main",
    "printf '#!/bin/sh\\ngit --git-dir=$HOME/site.git log -1 --format=%%h > /srv/www/deployed.html\\n' > ~/site.git/hooks/post-receive",
    "chmod +x ~/site.git/hooks/post-receive", "git clone -q ~/site.git ~/site && cd ~/site",
    "echo one >> page-1.html && git commit -qam one && git push -q", "cd /srv/www && git pull -q", "git log --oneline | head -3",
]
CHANGE = [
    "cd ~/zlib && git checkout -q -- . && git checkout -qb faster", "sed -i 's/-O3/-O2/' configure && git commit -qam 'another level'",
    "make -s distclean && CFLAGS='-O2 -g' ./configure", "make -s -j2 && make -s test", "git checkout -q -- . && git checkout -q main && git merge -q --no-edit faster",
    "git diff HEAD~1 --stat", "git tag v1", "git gc -q",
]
LUA = [
    "mkdir -p ~/lua && tar xf /srv/src/lua5.4_*.orig.tar.* -C ~/lua --strip-components=1 && cd ~/lua/src", "make -s -j2 posix",
    "./lua -e 'print(string.rep(1, 3))'", "for i in 1 2 3 4 5; do ./lua -e 'for i = 1, 1e6 do end'; done", "make -s clean",
    "cd ~/lua && git init -q && git add -A && git commit -qm lua",
]
REVIEW = [
    "cd ~/site && git checkout -qb words && echo two >> page-2.html && git commit -qam two && git push -q -u origin words",
    "git checkout -q main && git merge -q --no-ff -m merge words && git push -q", "git fetch -q --prune", "git stash list", "git reflog | head -3",
    "git grep -nP 'on+e' | head -3", "git bisect start HEAD HEAD~2 && git bisect run test -f page-1.html; git bisect reset",
    "bash -c 'for i in 1 2 3; do (echo > /dev/tcp/127.0.0.1/80) && exit 0; sleep 1; done'", "curl -s http://127.0.0.1/app/version",
]
DEBUG = [
    "cd ~/zlib && make -s distclean && CFLAGS='-O0 -g -fsanitize=address' ./configure --static", "make -s example && ./example | tail -1",
    "make -s distclean && ./configure --prefix=$HOME/prefix && make -s && make -s install", "ls ~/prefix/lib", "git status --short | head -3",
    "python3 -m unittest -q test 2> /dev/null || true", "python3 -c 'import ctypes; print(ctypes.CDLL(None).getpid())'",
    "git checkout -q -- . && git checkout -q faster && git rebase -q main && git gc -q && git fsck --no-progress",
]
AGAIN = [
    "cd ~/zlib && git checkout -q -- . && git checkout -q main && make -s distclean && CFLAGS='-Os' ./configure", "make -s -j2", "make -s test",
    "touch deflate.c && make -s", "git checkout -q -b smaller && git commit -q --allow-empty -m smaller && git checkout -q main",
    "git merge -q --no-ff -m smaller smaller && git branch -d smaller", "git archive --format tar.gz -o ~/zlib.tgz HEAD && tar tzf ~/zlib.tgz | wc -l",
    "cd ~/lua/src && make -s posix MYCFLAGS=-O0 && ./lua -v && make -s clean", "git -C ~/lua log --stat | tail -1",
]
BEN = [BEGIN, SHARE, CHANGE, LUA, REVIEW, DEBUG, AGAIN]
