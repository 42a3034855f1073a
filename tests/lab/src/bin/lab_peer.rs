//! The process that opens sockets in a place of the lab; `weir_lab::Peer` starts and moves it.
//!
//! Not here: anything but its start.

fn main() -> std::io::Result<()> {
    weir_lab::peer::serve()
}
