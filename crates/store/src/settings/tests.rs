use super::*;
use proptest::prelude::*;

fn from(vars: &[(&str, &str)]) -> Result<Settings, String> {
    Settings::from_env(vars.iter().copied()).map_err(|error| error.to_string())
}

fn endpoints(settings: &Settings) -> Vec<String> {
    settings.endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn every_spelling_names_the_same_endpoints() {
    let two = vec!["http://10.0.0.1:2379".to_owned(), "http://[fd00::1]:4001".to_owned()];
    for variable in ["ETCD_ENDPOINTS", "CALICO_ETCD_ENDPOINTS", "FELIX_ETCDENDPOINTS"] {
        let settings = from(&[(variable, "http://10.0.0.1, http://[fd00::1]:4001/,")]).unwrap();
        assert_eq!(endpoints(&settings), two, "{variable}");
    }
    assert_eq!(endpoints(&from(&[]).unwrap()), [DEFAULT_ENDPOINT]);
    assert_eq!(endpoints(&from(&[("ETCD_ENDPOINTS", " ")]).unwrap()), [DEFAULT_ENDPOINT]);
    let felix = [("FELIX_ETCDADDR", "etcd.example:4001"), ("FELIX_ETCDSCHEME", "https")];
    assert_eq!(endpoints(&from(&felix).unwrap()), ["https://etcd.example:4001"]);
    let socket = from(&[("ETCD_ENDPOINTS", "unix:///run/calico/datastore.sock")]).unwrap();
    assert_eq!(socket.endpoints, [Endpoint::Unix("/run/calico/datastore.sock".into())]);
}

#[test]
fn users_and_certificates_come_in_pairs() {
    let all = from(&[
        ("ETCD_USERNAME", "felix"),
        ("ETCD_PASSWORD", "secret"),
        ("ETCD_KEY_FILE", "/k"),
        ("ETCD_CERT_FILE", "/c"),
        ("ETCD_CA_CERT_FILE", "/ca"),
        ("DATASTORE_TYPE", "etcdv3"),
    ])
    .unwrap();
    assert_eq!(all.user, Some(User { name: "felix".into(), password: "secret".into() }));
    assert_eq!(all.tls.authority, Some(Pem::File("/ca".into())));
    assert_eq!(all.tls.identity, Some((Pem::File("/c".into()), Pem::File("/k".into()))));
    assert!(!format!("{all:?}").contains("secret"), "a password must not get into a log");
    for (alone, other) in [
        ("ETCD_USERNAME", "ETCD_PASSWORD"),
        ("ETCD_PASSWORD", "ETCD_USERNAME"),
        ("ETCD_KEY_FILE", "ETCD_CERT_FILE"),
        ("ETCD_CERT_FILE", "ETCD_KEY_FILE"),
    ] {
        let error = from(&[(alone, "x")]).unwrap_err();
        assert!(error.contains(alone) && error.contains(other), "{error}");
    }
}

#[test]
fn unusable_values_are_named() {
    for (vars, says) in [
        (("FELIX_DATASTORETYPE", "consul"), "\"consul\""),
        (("ETCD_DISCOVERY_SRV", "example.org"), "ETCD_DISCOVERY_SRV"),
        (("ETCD_ENDPOINTS", "10.0.0.1:2379"), "no scheme"),
        (("ETCD_ENDPOINTS", "ftp://10.0.0.1:2379"), "unknown scheme"),
        (("ETCD_ENDPOINTS", "http://10.0.0.1:port"), "no usable port"),
        (("ETCD_ENDPOINTS", "http://10.0.0.1:0"), "no usable port"),
        (("ETCD_ENDPOINTS", "http://:2379"), "no usable host"),
        (("ETCD_ENDPOINTS", "http://a b:2379"), "no usable host"),
        (("ETCD_ENDPOINTS", "http://[fd00::1:2379"), "lacks a ]"),
        (("ETCD_ENDPOINTS", "http://[etcd]:2379"), "no IPv6 address"),
        (("ETCD_ENDPOINTS", "unix://relative"), "no absolute path"),
        (("ETCD_ENDPOINTS", ","), "comma-separated"),
    ] {
        let error = from(&[vars]).unwrap_err();
        assert!(error.contains(says), "{vars:?}: {error}");
    }
}

const CONFIG: &str = "\
apiVersion: projectcalico.org/v3
kind: CalicoAPIConfig
metadata:
spec:
  datastoreType: etcdv3
  etcdEndpoints: https://etcd1:2379,https://etcd2:2379
  etcdUsername: felix
  etcdPassword: 12345
  etcdKeyFile: /etc/calico/key.pem
  etcdKey: |
    -----BEGIN PRIVATE KEY-----
  etcdCertFile: /etc/calico/cert.pem
  kubeconfig: /root/.kube/config
";

#[test]
fn the_kubernetes_api_is_named_as_calico_does() {
    let kubernetes = |vars: &[(&str, &str)]| {
        let vars = vars.iter().chain(&[("DATASTORE_TYPE", "kubernetes")]).copied();
        let settings = Settings::from_env(vars).map_err(|error| error.to_string());
        settings.map(|settings| settings.kubernetes.expect("it is chosen"))
    };
    let all = kubernetes(&[
        ("KUBECONFIG", "/k"),
        ("K8S_API_ENDPOINT", "https://10.0.0.1:6443"),
        ("K8S_CA_FILE", "/ca"),
        ("K8S_API_TOKEN", "secret"),
        ("K8S_CURRENT_CONTEXT", "home"),
        ("K8S_INSECURE_SKIP_TLS_VERIFY", "true"),
        ("CALICO_API_GROUP", "projectcalico.org/v3"),
        ("FELIX_INTERFACEPREFIX", "tap,cali"),
    ])
    .unwrap();
    assert_eq!(all.kubeconfig, Some("/k".into()));
    assert_eq!(all.endpoint.as_deref(), Some("https://10.0.0.1:6443"));
    assert_eq!(all.tls.authority, Some(Pem::File("/ca".into())));
    assert_eq!((all.token.as_deref(), all.insecure), (Some("secret"), true));
    assert_eq!((all.context.as_deref(), all.interface_prefix.as_str()), (Some("home"), "tap"));
    assert_eq!(all.api_group.as_deref(), Some("projectcalico.org/v3"));
    assert!(!format!("{all:?}").contains("secret"), "a token must not get into a log");
    assert_eq!(kubernetes(&[]).unwrap().interface_prefix, "cali");
    for (set, says) in [
        (("K8S_CERT_FILE", "/c"), "K8S_KEY_FILE"),
        (("K8S_KEY_FILE", "/k"), "K8S_CERT_FILE"),
        (("K8S_INSECURE_SKIP_TLS_VERIFY", "maybe"), "true or false"),
    ] {
        let error = kubernetes(&[set]).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_file_is_read_and_variables_override_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calicoctl.cfg");
    std::fs::write(&path, CONFIG).unwrap();
    let vars = [("ETCD_ENDPOINTS", "http://127.0.0.1:1"), ("ETCD_CERT_FILE", "")];
    let settings = Settings::from_file(&path, vars).unwrap();
    assert_eq!(endpoints(&settings), ["http://127.0.0.1:1"]);
    assert_eq!(settings.user, Some(User { name: "felix".into(), password: "12345".into() }));
    let key = Pem::Inline("-----BEGIN PRIVATE KEY-----\n".into());
    assert_eq!(settings.tls.identity, Some((Pem::File("/etc/calico/cert.pem".into()), key)));

    let none: [(&str, &str); 0] = [];
    let absent = Settings::load(Some(&directory.path().join("no.cfg")), none).unwrap_err();
    assert!(absent.to_string().contains("no.cfg"), "{absent}");
}

#[test]
fn a_wrong_file_is_refused() {
    for (from, to, says) in [
        ("kind: CalicoAPIConfig", "kind: IPPool", "kind \"IPPool\""),
        ("projectcalico.org/v3", "v1", "apiVersion \"v1\""),
        ("etcdUsername", "etcdUser", "spec.etcdUser"),
        ("etcdUsername: felix", "etcdUsername: [felix]", "spec.etcdUsername"),
        ("spec:", "spec: {", "not readable"),
    ] {
        let error = file::parse(&CONFIG.replace(from, to)).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

proptest! {
    #[test]
    fn an_endpoint_reads_back_as_written(
        tls: bool,
        host in "[a-z][a-z0-9.-]{0,20}|([0-9]{1,2}\\.){3}[0-9]|fd00::[1-9]",
        port in 1u16..,
    ) {
        let endpoint = Endpoint::Tcp { tls, host, port };
        prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Endpoint>();
        let _ = file::parse(&text);
    }
}
