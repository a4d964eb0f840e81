package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// localAddress is an address to listen on. One of localhost's two may be missing
// on a machine.
type localAddress struct {
	addr   netip.Addr
	either bool
}

// localAddresses reads --address.
func localAddresses(list []string) (out []localAddress, err error) {
	add := func(a localAddress) {
		if !slices.ContainsFunc(out, func(b localAddress) bool { return a.addr == b.addr }) {
			out = append(out, a)
		}
	}
	for _, text := range list {
		if text == "localhost" {
			add(localAddress{netip.AddrFrom4([4]byte{127, 0, 0, 1}), true})
			add(localAddress{netip.IPv6Loopback(), true})
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usagef("--address %s is not a valid IP: it takes addresses, or localhost", text)
		}
		add(localAddress{addr: addr})
	}
	if len(out) == 0 {
		return nil, usagef("--address names no address to listen on")
	}
	return out, nil
}

// randomTries is how often another random port is taken if one is free on one of
// the addresses only.
const randomTries = 20

// listen listens for one port on all addresses and tells so. A random port is the
// same on all of them.
func (f *forwarder) listen(p forwardedPort, list []string) error {
	addrs, err := localAddresses(list)
	if err != nil {
		return err
	}
	tries := 1
	if p.local == 0 {
		tries = randomTries
	}
	var listeners []forwardListener
	for range tries {
		if listeners, err = listenAll(p, addrs); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) && p.local != 0 {
			err = fmt.Errorf("%w; take another local port, such as :%d for one that is free", err, p.remote)
		}
		return fmt.Errorf("unable to listen on port %d: %w", p.local, err)
	}
	for _, l := range listeners {
		fmt.Fprintf(f.out, "Forwarding from %s -> %d\n", l.Addr(), l.port.remote)
	}
	f.listeners = append(f.listeners, listeners...)
	return nil
}

// listenAll listens on all addresses or on none, but for a loopback address that
// the machine has not.
func listenAll(p forwardedPort, addrs []localAddress) (out []forwardListener, err error) {
	defer func() {
		if err != nil {
			for _, l := range out {
				l.Close()
			}
		}
	}()
	var missing error
	for _, a := range addrs {
		network := "tcp6"
		if a.addr.Is4() {
			network = "tcp4"
		}
		l, err := net.Listen(network, net.JoinHostPort(a.addr.String(), strconv.Itoa(int(p.local))))
		if a.either && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)) {
			missing = err
			continue
		}
		if err != nil {
			return out, err
		}
		p.local = uint16(l.Addr().(*net.TCPAddr).Port)
		out = append(out, forwardListener{l, p})
	}
	if len(out) == 0 {
		return nil, missing
	}
	return out, nil
}

// retryAccept waits before a listener that has failed, for want of descriptors
// say, is asked again; false: there is no more need.
func retryAccept(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Second):
		return true
	}
}
