// Package client speaks the local API of package server; the command line is
// built on it. It holds no connection between calls. Errors of the server keep
// its text; ErrNotRunning means that nobody answers at the socket.
package client
