//! Certificates made by Debian's openssl.

use std::process::Command;
use store::settings::{Pem, Tls};
use tempfile::TempDir;

/// An authority `ca`, the `server` and `client` it signed, and a `stranger` who signed nothing.
pub(crate) struct Certificates {
    directory: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Certificates {
        let files = Certificates { directory: tempfile::tempdir().expect("a directory") };
        for authority in ["ca", "stranger"] {
            files.openssl(&format!("req -x509 {} -subj /CN={authority} -days 2", new(authority)));
            std::fs::rename(
                files.path(&format!("{authority}.csr")),
                files.path(&format!("{authority}.crt")),
            )
            .expect("a certificate");
        }
        let extensions = "subjectAltName=IP:127.0.0.1,DNS:localhost\n\
                          extendedKeyUsage=serverAuth,clientAuth\n";
        std::fs::write(files.path("extensions"), extensions).expect("a file");
        for name in ["server", "client"] {
            files.openssl(&format!("req {} -subj /CN={name}", new(name)));
            files.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial \
                 -out {name}.crt -days 2 -extfile extensions"
            ));
        }
        files
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    pub(crate) fn pem(&self, name: &str) -> Pem {
        Pem::File(self.path(name).into())
    }

    /// The client's side, as files.
    pub(crate) fn tls(&self) -> Tls {
        let identity = (self.pem("client.crt"), self.pem("client.key"));
        Tls { authority: Some(self.pem("ca.crt")), identity: Some(identity) }
    }

    /// The client's side, as text.
    pub(crate) fn inline(&self) -> Tls {
        let text = |name| Pem::Inline(std::fs::read_to_string(self.path(name)).expect("a file"));
        let identity = (text("client.crt"), text("client.key"));
        Tls { authority: Some(text("ca.crt")), identity: Some(identity) }
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("/usr/bin/openssl");
        command.current_dir(self.directory.path()).args(arguments.split_whitespace());
        let output = command.output().expect("/usr/bin/openssl (Debian's openssl)");
        assert!(output.status.success(), "{arguments}: {output:?}");
    }
}

fn new(name: &str) -> String {
    format!(
        "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr"
    )
}
