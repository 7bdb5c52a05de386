//! The patterns that are masked where the configuration names no others, each with an example.
//!
//! The one table: `docs/processes.md` is written from it, and a test runs every example. Patterns are ASCII classes on
//! purpose (`(?-u:…)`): Unicode's would make the automaton many times larger. Limits: a secret that nothing announces is
//! not seen, and a word that is announced like one is masked although it is none.

/// A pattern of the usual list.
#[derive(Debug, Clone, Copy)]
pub struct Usual {
    pub what: &'static str,
    /// What its groups match is masked.
    pub pattern: &'static str,
    /// Arguments; in an example, arguments with spaces are in quotes.
    pub example: &'static [&'static str],
    /// The example, masked.
    pub masked: &'static [&'static str],
}

pub const USUAL: &[Usual] = &[
    Usual {
        what: "Options named like a secret, with `=` or the next argument",
        pattern: r#"(?i)(?:^|\s)--?(?:(?-u:[\w-])*(?:password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key)|(?:(?-u:[\w-])*[-_])?pass)(?:=("[^"]*"|'[^']*'|\S+)|\s+("[^"]*"|'[^']*'|[^\s-]\S*))"#,
        example: &["backup", "--db-password", "s3 cret", "--token=abc"],
        masked: &["backup", "--db-password", "***", "--token=***"],
    },
    Usual {
        what: "Assignments and parts of an address named like a secret",
        pattern: r#"(?i)(?:[?&](?-u:[\w.-])*(?:password|passwd|secret|token|api[-_]?key|access[-_]?key)=([^\s&"']+)|(?:^|[\s"';])(?-u:[\w.-])*(?:password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|mysql_pwd)=("[^"]*"|'[^']*'|\S+))"#,
        example: &["env", "PGPASSWORD=s3cret", "curl", "https://example.org/?token=abc&page=2"],
        masked: &["env", "PGPASSWORD=***", "curl", "https://example.org/?token=***&page=2"],
    },
    Usual {
        what: "Names and passwords in addresses",
        pattern: r"(?i)(?-u:\b)[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/]+)@",
        example: &["psql", "postgres://app:s3cret@db/orders"],
        masked: &["psql", "postgres://app:***@db/orders"],
    },
    Usual {
        what: "`Authorization`, `Proxy-Authorization` and cookies",
        pattern: r#"(?i)(?:authorization:\s*(?:(?:bearer|basic|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+([^\s"';|&,]+(?:,\s*[^\s"';|&,]+)*)|((?:(?-u:[\w-])+\s+)?[^\s"';|&]+))|cookie:\s*([^\s"';|&]+(?:;\s[^\s"';|&=]+=[^\s"';|&]*)*))"#,
        example: &["curl", "-H", "Authorization: Bearer abc.def", "https://example.org"],
        masked: &["curl", "-H", "Authorization: Bearer ***", "https://example.org"],
    },
    Usual {
        what: "Headers named like a secret",
        pattern: r#"(?i)(?-u:[\w-])*(?:token|api-?key|secret):\s*([^\s"']+)"#,
        example: &["curl", "-H", "X-Api-Key: abc"],
        masked: &["curl", "-H", "X-Api-Key: ***"],
    },
    Usual {
        what: "`-p` of MySQL and MariaDB, written together with the password",
        pattern: r"(?:^|[/\s])(?:mysql|mariadb)(?-u:[\w-])*\s(?:.*?\s)?-p(\S+)",
        example: &["/usr/bin/mysql", "-u", "root", "-ps3cret", "shop"],
        masked: &["/usr/bin/mysql", "-u", "root", "-p***", "shop"],
    },
    Usual {
        what: "`-u` and `--user` of curl and wget, behind the colon",
        pattern: r#"(?:^|[/\s])(?:curl|wget)\s(?:.*?\s)?(?:-u|-U|--user|--proxy-user)[\s=]*["']?[^\s:]+:([^\s"']+)"#,
        example: &["curl", "-u", "ann:s3cret", "https://example.org"],
        masked: &["curl", "-u", "ann:***", "https://example.org"],
    },
    Usual {
        what: "`-p` of sshpass, `-a` of redis-cli",
        pattern: r"(?:^|[/\s])(?:sshpass\s(?:.*?\s)?-p\s*|redis-cli\s(?:.*?\s)?-a\s+)(\S+)",
        example: &["sshpass", "-p", "s3cret", "ssh", "ann@web-1"],
        masked: &["sshpass", "-p", "***", "ssh", "ann@web-1"],
    },
    Usual {
        what: "`pass:` of OpenSSL",
        pattern: r"(?-u:\b)pass:(\S+)",
        example: &["openssl", "rsa", "-passin", "pass:s3cret"],
        masked: &["openssl", "rsa", "-passin", "pass:***"],
    },
    Usual {
        what: "AWS: ids of keys, and keys that are told as such",
        pattern: r#"(?-u:\b)((?:AKIA|ASIA)[0-9A-Z]{16})(?-u:\b)|(?i:secret_?access_?key)["']?[\s=:]+["']?([A-Za-z0-9/+]{40})"#,
        example: &["aws", "configure", "set", "aws_secret_access_key", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"],
        masked: &["aws", "configure", "set", "aws_secret_access_key", "***"],
    },
    Usual {
        what: "Tokens known by their form: GitHub, GitLab, Slack, JSON Web Tokens",
        pattern: r"(?-u:\b)(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_(?-u:\w){22,}|glpat-(?-u:[\w-]){20,}|xox[abprs]-[A-Za-z0-9-]{10,}|eyJ(?-u:[\w-]){5,}\.eyJ(?-u:[\w-]){5,}\.(?-u:[\w-])*)",
        example: &["git", "clone", "https://ghp_0123456789abcdef0123456789abcdef0123@github.com/a/b"],
        masked: &["git", "clone", "https://***@github.com/a/b"],
    },
];
