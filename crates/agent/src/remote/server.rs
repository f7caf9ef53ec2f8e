//! The side that is asked.

use super::{Settings, certificates};
use crate::socket::{Asked, converse};
use node::api::{Reply, Request};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

/// Connections at the same time, greeted or not; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For the greeting.
    pub(super) greeting: Duration,
    /// To send its request after that.
    pub(super) request: Duration,
}

pub(super) const LIMITS: Limits =
    Limits { greeting: Duration::from_secs(5), request: Duration::from_secs(5) };
/// How long a connection may take as a whole, a client that reads slowly included.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// How long after a failure listening is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(10);

/// Listens for ever, handing each request to `asked`.
pub(crate) async fn serve(settings: Settings, asked: mpsc::Sender<Asked>) {
    let address = settings.listen;
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!("other nodes may ask at {address}");
                return accept(listener, settings, asked, LIMITS).await;
            }
            Err(why) if !told => {
                told = true;
                tracing::warn!(
                    "other nodes cannot ask at {address}: {why}; set CALICO_API_ADDRESS to an \
                     address of this node that is free, or wait until it is"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

/// Serves those who connect to `listener`.
pub(super) async fn accept(
    listener: TcpListener,
    settings: Settings,
    asked: mpsc::Sender<Asked>,
    limits: Limits,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let settings = Arc::new(settings);
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (asked, settings) = (asked.clone(), settings.clone());
                tokio::spawn(async move {
                    let answered = answer(stream, &settings, &asked, limits);
                    let outcome = tokio::time::timeout(CONNECTION_TIME_MAX, answered).await;
                    if let Err(why) = outcome.unwrap_or_else(|late| Err(late.into())) {
                        tracing::debug!("{from} got no answer: {why}");
                    }
                    drop(permit);
                });
            }
            Err(why) => {
                tracing::warn!("the API for other nodes does not accept: {why}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(
    stream: TcpStream,
    settings: &Settings,
    asked: &mpsc::Sender<Asked>,
    limits: Limits,
) -> io::Result<()> {
    let config = certificates::server(&settings.files).map_err(|why| {
        tracing::warn!("other nodes get no answer: {why}");
        io::Error::other(why)
    })?;
    let greeting = TlsAcceptor::from(Arc::new(config)).accept(stream);
    let mut stream = tokio::time::timeout(limits.greeting, greeting).await??;
    converse(&mut stream, asked, limits.request, refuse).await?;
    stream.shutdown().await
}

/// What another node may not ask.
fn refuse(request: &Request) -> Option<Reply> {
    (!request.is_read_only()).then(|| {
        let message =
            "other nodes may only ask what changes nothing: ask calico-node on its own node";
        Reply::refused(message.to_owned())
    })
}
