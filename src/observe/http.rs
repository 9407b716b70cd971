//! Answers over HTTP: `/metrics`, `/healthz`, `/readyz`, `/status`; on a Unix socket in the state folder, and on TCP where the
//! settings name an address. A thread of its own, so that it neither waits for the stages nor they for it.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use super::board::{Board, Obstacle};
use super::bounded::Bounded;
use super::socket;
use super::token::Token;
use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Seconds between two looks at the process and its filesystem.
const LOOK_S: u64 = 5;

/// The server of a run; ends when it is dropped.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
    token: Option<Arc<Token>>,
    socket: std::path::PathBuf,
}

impl Server {
    /// Listens. The state folder's lock must be held.
    ///
    /// # Errors
    /// [`Kind::Io`] where the socket or the address cannot be listened on; what is wrong with the token's file.
    pub fn start(settings: &Settings, board: Arc<Board>) -> Result<Self> {
        let token = settings.http.token_file.as_deref().map(Token::read).transpose()?.map(Arc::new);
        let path = settings.state.join(socket::NAME);
        let unix = socket::bind(&settings.state).map_err(|error| {
            Failure::new(Kind::Io, format!("cannot listen on the control socket {}: {error}", path.display()))
                .hint("the state folder must lie on a filesystem that has sockets")
        })?;
        let tcp = settings.http.listen.map(listen).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot answer over HTTP: {error}")))?;
        let (stop, stopped) = oneshot::channel();
        let keeper = token.clone();
        let serving = move || {
            let served = runtime.block_on(async {
                tokio::select! {
                    outcome = serve(unix, tcp, board, keeper) => outcome,
                    _ = stopped => Ok(()),
                }
            });
            // What looks at the filesystem may hang; nobody waits for it.
            runtime.shutdown_background();
            if let Err(error) = served {
                error!(%error, "no answers over HTTP any more");
            }
        };
        let thread = std::thread::Builder::new()
            .name("http".into())
            .spawn(serving)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))?;
        Ok(Self { thread: Some(thread), stop: Some(stop), token, socket: path })
    }

    /// Reads the token again; the old one stays where the new one is not fit.
    ///
    /// # Errors
    /// What is wrong with the token's file.
    pub fn reload(&self) -> Result<()> {
        self.token.as_ref().map_or(Ok(()), |token| token.reload())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn listen(address: std::net::SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    let listener = bound.map_err(|error| {
        Failure::new(Kind::Io, format!("cannot listen on {address} (http.listen): {error}"))
            .hint("name another address or port, or leave http.listen out: the control socket is always there")
    })?;
    let address = listener.local_addr().unwrap_or(address);
    info!(%address, "answering over HTTP");
    Ok(listener)
}

async fn serve(
    unix: UnixListener,
    tcp: Option<TcpListener>,
    board: Arc<Board>,
    token: Option<Arc<Token>>,
) -> std::io::Result<()> {
    let unix = Bounded::new(tokio::net::UnixListener::from_std(unix)?);
    let local = async { axum::serve(unix, routes(board.clone())).await };
    let remote = async {
        let Some(tcp) = tcp else { return std::future::pending().await };
        let listener = Bounded::new(tokio::net::TcpListener::from_std(tcp)?);
        let routes = match token {
            Some(token) => routes(board.clone()).layer(middleware::from_fn_with_state(token, admit)),
            None => routes(board.clone()),
        };
        axum::serve(listener, routes).await
    };
    tokio::select! {
        outcome = local => outcome,
        outcome = remote => outcome,
        () = keep(board.clone()) => Ok(()),
    }
}

fn routes(board: Arc<Board>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(board)
}

/// Samples rates, folds histograms, looks at the process.
async fn keep(board: Arc<Board>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = None;
    for second in 0u64.. {
        tick.tick().await;
        board.tick(Instant::now());
        if second.is_multiple_of(LOOK_S) {
            board.exporter.iter().for_each(|exporter| exporter.upkeep());
            if look.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                let board = board.clone();
                look = Some(tokio::task::spawn_blocking(move || board.process.look(&board.state)));
            }
        }
    }
}

async fn admit(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    if token.admits(shown) {
        return next.run(request).await;
    }
    warn!(shown = shown.is_some(), "refused an answer over HTTP: not the token");
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "a token is needed\n").into_response()
}

async fn metrics(State(board): State<Arc<Board>>) -> Response {
    let text = board.exporter.as_ref().map(|exporter| exporter.render(&board)).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn healthz(State(board): State<Arc<Board>>) -> Response {
    let stuck = board.stuck();
    let code = if stuck.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "healthy": stuck.is_empty(), "stuck": stuck }))).into_response()
}

async fn readyz(State(board): State<Arc<Board>>) -> Response {
    let conditions: Vec<Obstacle> = board.condition.hindrances().into_iter().map(Obstacle::from).collect();
    let code = if conditions.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": conditions.is_empty(), "conditions": conditions }))).into_response()
}

async fn status(State(board): State<Arc<Board>>) -> Response {
    Json(board.status()).into_response()
}
