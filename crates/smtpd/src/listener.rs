//! Listening sockets.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::address::ListenerAddress;
use crate::client::ClientId;
use crate::config::ListenerConfig;
use crate::proxy_header;
use crate::proxy_header::ProxiedClient;
use crate::unix::{SocketError, SocketFile, bind_unix};

/// The most connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Every user of this machine may submit mail, unless the permissions of a directory prevent it.
const FOR_ALL: u32 = 0o666;
const DIRECTORY_FOR_ALL: u32 = 0o755;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address and port could not be opened.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Tcp {
        /// The address as it was configured.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The Unix socket could not be opened.
    #[error("cannot listen on unix:{}: {source}", path.display())]
    Unix {
        /// The path as it was configured.
        path: PathBuf,
        /// The reason.
        source: SocketError,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another server has this port: stop it, or give the [[listener]] another address"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE, or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        _ => "",
    }
}

/// An open listener.
#[derive(Debug)]
pub(crate) enum BoundListener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A Unix socket whose file is removed with it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    _file: SocketFile,
}

/// A source of connections.
pub(crate) trait Accept: Send + Sync + 'static {
    /// The type of the connections.
    type Stream: IncomingStream;

    /// Accepts the next connection and returns the client's identity with it.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, ClientId)>> + Send;
}

/// A connection on which no octet has been sent or read.
pub(crate) trait IncomingStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Reads the PROXY header and returns the client that it names.
    fn read_proxy_header(&mut self) -> impl Future<Output = io::Result<ProxiedClient>> + Send;

    /// Writes `text` in one write, which does not block on a new connection, and closes it. Errors are
    /// ignored, because the client is gone then.
    fn reply_and_close(self, text: &[u8]);
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, ClientId)> {
        let (stream, client) = self.accept().await?;
        // An IPv4 client of a dual-stack socket is identified by its IPv4 address.
        Ok((stream, ClientId::Address(client.ip().to_canonical())))
    }
}

impl Accept for UnixSocket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, ClientId)> {
        let (stream, _) = self.listener.accept().await?;
        // SO_PEERCRED: the user at the time of the connect.
        let uid = stream.peer_cred()?.uid();
        Ok((stream, ClientId::Uid(uid)))
    }
}

impl IncomingStream for TcpStream {
    async fn read_proxy_header(&mut self) -> io::Result<ProxiedClient> {
        proxy_header::read(self).await
    }

    fn reply_and_close(self, text: &[u8]) {
        if let Ok(mut stream) = self.into_std() {
            let _ = stream.write_all(text);
        }
    }
}

impl IncomingStream for UnixStream {
    /// A Unix socket has no PROXY header, because the kernel reports the user.
    async fn read_proxy_header(&mut self) -> io::Result<ProxiedClient> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reply_and_close(self, text: &[u8]) {
        if let Ok(mut stream) = self.into_std() {
            let _ = stream.write_all(text);
        }
    }
}

/// Opens a listener and returns it with its address and real port. `all` lists all configured
/// listeners.
pub(crate) fn bind(
    config: &ListenerConfig,
    all: &[ListenerConfig],
) -> Result<(BoundListener, ListenerAddress), BindError> {
    match &config.address {
        ListenerAddress::Tcp(address) => {
            let (listener, address) = bind_tcp(*address, all).map_err(|source| BindError::Tcp {
                address: *address,
                source,
            })?;
            Ok((BoundListener::Tcp(listener), address.into()))
        }
        ListenerAddress::Unix(path) => {
            let (listener, file) =
                bind_unix(path, FOR_ALL, DIRECTORY_FOR_ALL).map_err(|source| BindError::Unix {
                    path: path.clone(),
                    source,
                })?;
            let socket = UnixSocket {
                listener,
                _file: file,
            };
            Ok((BoundListener::Unix(socket), config.address.clone()))
        }
    }
}

/// `[::]` also accepts IPv4, as operators expect, unless `0.0.0.0` is configured with the same
/// port. If the system has no IPv6, it accepts only IPv4.
fn bind_tcp(address: SocketAddr, all: &[ListenerConfig]) -> io::Result<(TcpListener, SocketAddr)> {
    let port = address.port();
    // A listener on a single IPv4 address does not count: IPv4 connections to the other addresses
    // would not be accepted, without any warning.
    let all_of_ipv4 = ListenerAddress::Tcp((Ipv4Addr::UNSPECIFIED, port).into());
    let has_ipv4_beside = port != 0 && all.iter().any(|other| other.address == all_of_ipv4);
    let listener = open(address, has_ipv4_beside)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn open(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let (socket, address) = match Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    ) {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            (
                socket,
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
            )
        }
        made => (made?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restart need not wait until the system has forgotten old connections.
    socket.set_reuse_address(true)?;
    // On Linux accepted connections inherit this option, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
