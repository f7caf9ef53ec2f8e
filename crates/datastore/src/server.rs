//! The server as a whole: start, serve, stop.

use crate::error::Error;
use crate::kv::KvService;
use crate::lease::{LeaseService, Leases};
use crate::limits::{MESSAGE_OVERHEAD_BYTES_MAX, REQUEST_BYTES_MAX, STOP_GRACE};
use crate::listen::{self, Listener};
use crate::maintenance::MaintenanceService;
use crate::options::Options;
use crate::store::Store;
use crate::watch::WatchService;
use crate::{compaction, tls};
use etcd::server::{
    AuthServer, ClusterServer, KvServer, LeaseServer, MaintenanceServer, WatchServer,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;
use tonic::transport::ServerTlsConfig;

/// Connections that answer no ping for so long are dead.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A running server. Dropping it without [`Server::stop`] leaves the database as a kill would:
/// safe, and closed at some later moment.
pub struct Server {
    endpoints: Vec<String>,
    sockets: Vec<PathBuf>,
    stopping: watch::Sender<bool>,
    listeners: JoinSet<Result<(), tonic::transport::Error>>,
    background: JoinSet<()>,
    store: Arc<Store>,
    writer: JoinHandle<()>,
}

impl Server {
    /// Opens the database and listens. Requests are answered from here on, by tasks of the runtime
    /// this is called in.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub async fn start(options: Options) -> Result<Self, Error> {
        let tls = tls::config(&options)?;
        let mut listeners = Vec::new();
        let mut endpoints = Vec::new();
        for url in &options.listen {
            let (listener, endpoint) = listen::open(url)?;
            listeners.push(listener);
            endpoints.push(endpoint);
        }
        let directory = options.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&directory)).await;
        let (store, writer) = opened.map_err(|error| Error::Runtime(error.to_string()))??;
        let mut server = Self {
            endpoints,
            sockets: Vec::new(),
            stopping: watch::Sender::new(false),
            listeners: JoinSet::new(),
            background: JoinSet::new(),
            store: Arc::new(store),
            writer,
        };
        if let Err(error) = server.begin(listeners, tls.as_ref(), &options) {
            // What failed first is what is told.
            drop(server.stop().await);
            return Err(error);
        }
        Ok(server)
    }

    fn begin(
        &mut self,
        listeners: Vec<Listener>,
        tls: Option<&ServerTlsConfig>,
        options: &Options,
    ) -> Result<(), Error> {
        let leases = Leases::open(self.store.clone())
            .map_err(|refused| Error::Runtime(refused.to_string()))?;
        let leases = Arc::new(leases);
        let routes = self.routes(&leases);
        for listener in listeners {
            self.serve(listener, routes.clone(), tls)?;
        }
        self.background.spawn(async move { leases.expire().await });
        let retention = options.auto_compaction_retention;
        self.background.spawn(compaction::run(self.store.clone(), retention));
        Ok(())
    }

    /// The URLs under which clients reach it, in the order of [`Options::listen`].
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn routes(&self, leases: &Arc<Leases>) -> Routes {
        let (store, stopping) = (self.store.clone(), self.stopping.subscribe());
        let message_bytes_max = REQUEST_BYTES_MAX + MESSAGE_OVERHEAD_BYTES_MAX;
        let kv = KvServer::new(KvService { store: store.clone() });
        let watch = WatchService { store: store.clone(), stopping: stopping.clone() };
        let lease = LeaseService { leases: leases.clone(), stopping };
        let maintenance = MaintenanceService { store, endpoints: self.endpoints.clone().into() };
        Routes::new(kv.max_decoding_message_size(message_bytes_max))
            .add_service(WatchServer::new(watch))
            .add_service(LeaseServer::new(lease))
            .add_service(MaintenanceServer::new(maintenance.clone()))
            .add_service(ClusterServer::new(maintenance.clone()))
            .add_service(AuthServer::new(maintenance))
    }

    fn serve(
        &mut self,
        listener: Listener,
        routes: Routes,
        tls: Option<&ServerTlsConfig>,
    ) -> Result<(), Error> {
        let mut stopping = self.stopping.subscribe();
        let stop = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
        let builder = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_INTERVAL));
        match listener {
            Listener::Tcp(incoming) => {
                let mut builder = builder;
                let router = builder.add_routes(routes);
                self.listeners.spawn(router.serve_with_incoming_shutdown(incoming, stop));
            }
            Listener::Tls(incoming) => {
                let config = tls.cloned().ok_or_else(|| {
                    Error::Tls("https needs a certificate: give --cert-file and --key-file".into())
                })?;
                let mut builder = builder.tls_config(config).map_err(|error| {
                    Error::Tls(format!("certificate, key or authority cannot be used: {error:?}"))
                })?;
                let router = builder.add_routes(routes);
                self.listeners.spawn(router.serve_with_incoming_shutdown(incoming, stop));
            }
            Listener::Unix(listener, path) => {
                let incoming = UnixListenerStream::new(listener);
                self.sockets.push(path);
                let mut builder = builder;
                let router = builder.add_routes(routes);
                self.listeners.spawn(router.serve_with_incoming_shutdown(incoming, stop));
            }
        }
        Ok(())
    }

    /// Ends watches, finishes the requests under way and closes the database.
    ///
    /// # Errors
    /// [`Error::Runtime`] if a listener or the writer had failed.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stopping.send_replace(true);
        self.background.shutdown().await;
        let mut outcome = Ok(());
        let ended = async {
            while let Some(listener) = self.listeners.join_next().await {
                if let Some(reason) = failure(listener) {
                    outcome = Err(Error::Runtime(reason));
                }
            }
        };
        // Past the grace, what is still under way is cut off.
        drop(tokio::time::timeout(STOP_GRACE, ended).await);
        self.listeners.shutdown().await;
        self.store.stop().await;
        let writer = self.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join()).await;
        for socket in &self.sockets {
            // Gone already if somebody tidied up.
            drop(std::fs::remove_file(socket));
        }
        match joined {
            Ok(Ok(())) => outcome,
            _ => Err(Error::Runtime("its writing thread panicked: report this".into())),
        }
    }
}

/// What a listener that has ended failed with, if it did.
fn failure(
    ended: Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>,
) -> Option<String> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:?}")),
        Err(error) => Some(error.to_string()),
    }
}

/// Serves until `shutdown` completes.
///
/// # Errors
/// Any of [`Error`].
pub async fn serve(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let mut server = Server::start(options).await?;
    tracing::info!("datastore serves {}", server.endpoints().join(", "));
    tokio::pin!(shutdown);
    let failed = tokio::select! {
        () = &mut shutdown => None,
        Some(listener) = server.listeners.join_next() => failure(listener),
    };
    server.stop().await?;
    failed.map_or(Ok(()), |reason| Err(Error::Runtime(reason)))
}

/// Serves in a runtime of its own until SIGTERM or SIGINT: `calico datastore`.
///
/// # Errors
/// Any of [`Error`].
pub fn run(options: Options) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Runtime(error.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let shutdown = async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        serve(options, shutdown).await
    })
}
