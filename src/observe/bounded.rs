//! Listeners that a slow or greedy client cannot hold up: so many connections at once, and a few seconds for each request.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections of one listener at once; more wait to be accepted.
const CONNECTIONS: usize = 32;
/// How long a client may take for its next request, or for taking the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener with a bound on connections and on their time.
pub struct Bounded<L> {
    listener: L,
    places: Arc<Semaphore>,
    patience: Duration,
}

impl<L> Bounded<L> {
    /// Bounds a listener.
    pub fn new(listener: L) -> Self {
        Self::with(listener, CONNECTIONS, PATIENCE)
    }

    fn with(listener: L, connections: usize, patience: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections)), patience }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        (Connection { io, patience: self.patience, deadline: Box::pin(sleep(self.patience)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing has been written to it for a while.
pub struct Connection<T> {
    io: T,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<T> Connection<T> {
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            let next = Instant::now() + self.patience;
            self.deadline.as_mut().reset(next);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use axum::{Router, routing::get};

    use super::*;

    const ASK: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    fn answer(stream: &mut TcpStream) -> String {
        let mut buffer = [0; 512];
        loop {
            match stream.read(&mut buffer) {
                // This process was stopped and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                length => return String::from_utf8_lossy(&buffer[..length.unwrap()]).into_owned(),
            }
        }
    }

    #[test]
    fn who_dribbles_is_cut_off_and_the_next_gets_the_place() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let bounded = Bounded::with(listener, 1, Duration::from_secs(5));
                axum::serve(bounded, Router::new().route("/", get(|| async { "well" }))).await.unwrap();
            });
        });
        let connect = || {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream
        };
        let mut slow = connect();
        slow.write_all(ASK.as_bytes()).unwrap();
        assert!(answer(&mut slow).ends_with("well"));
        slow.write_all(&ASK.as_bytes()[..8]).unwrap();
        let mut other = connect();
        other.write_all(ASK.as_bytes()).unwrap();
        assert!(answer(&mut other).ends_with("well"), "the only place is free again");
        slow.set_nonblocking(true).unwrap();
        match slow.read(&mut [0; 8]) {
            Ok(length) => assert_eq!(length, 0, "cut off"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "cut off before the other had its place")
            }
        }
    }
}
