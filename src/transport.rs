//! x
/// t
pub type Transport = tokio::net::TcpStream;
