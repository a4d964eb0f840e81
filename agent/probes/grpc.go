package probes

import (
	"context"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// grpc asks a server's health service. A connection that is refused is tried
// again until the time is up, as on kubelet.
func (p *Prober) grpc(ctx context.Context, s subject, timeout time.Duration) answer {
	host, err := s.hostOf("")
	if err != nil {
		return broken(err)
	}
	addr := net.JoinHostPort(host, strconv.Itoa(int(s.spec.GRPC.Port)))
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l := p.line(s)
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithUserAgent("kube-probe/"+version),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := l.dial(ctx, "tcp", addr)
			if l.broken() != nil {
				cancel() // there is no use in dialling again
			}
			return conn, err
		}))
	if err != nil {
		return failed("error: failed to connect service at %q: %+v", addr, err)
	}
	defer conn.Close()
	if !connect(within, conn) {
		if fault := l.broken(); fault != nil {
			return broken(fault)
		}
		return failed("timeout: failed to connect service %q within %v: %+v", addr, timeout, within.Err())
	}
	req := &grpc_health_v1.HealthCheckRequest{}
	if s.spec.GRPC.Service != nil {
		req.Service = *s.spec.GRPC.Service
	}
	resp, err := grpc_health_v1.NewHealthClient(conn).Check(within, req)
	if fault := l.broken(); fault != nil && err != nil {
		return broken(fault)
	}
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return failed("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status.Convert(err).Message())
	case codes.DeadlineExceeded:
		return failed("timeout: health rpc did not complete within %v", timeout)
	default:
		return failed("error: health rpc probe failed: %+v", err)
	}
	if resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return failed("service unhealthy (responded with %q)", resp.GetStatus().String())
	}
	return answer{verdict: success, output: "service healthy"}
}

// connect waits until conn is ready, or ctx ends.
func connect(ctx context.Context, conn *grpc.ClientConn) bool {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Idle:
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}
