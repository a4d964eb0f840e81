package probes

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
)

func grpcProbe(service string) *v1.Probe {
	p := &v1.Probe{ProbeHandler: v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: 1}}}
	if service != "" {
		p.GRPC.Service = &service
	}
	return p
}

// nurse is a health service; "hangs" does, and other unknown services are
// refused.
type nurse struct {
	grpc_health_v1.UnimplementedHealthServer
	mu    sync.Mutex
	agent string
}

func (n *nurse) Check(ctx context.Context, req *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	n.mu.Lock()
	n.agent = strings.Join(md.Get("user-agent"), " ")
	n.mu.Unlock()
	answer := grpc_health_v1.HealthCheckResponse_SERVING
	switch req.Service {
	case "":
	case "sick":
		answer = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	case "hangs":
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: answer}, nil
}

// serve runs a gRPC server and returns its port.
func serve(t testing.TB, register func(*grpc.Server)) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return l.Addr().(*net.TCPAddr).Port
}

func TestGRPC(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	w := newWard(t)
	n := &nurse{}
	port := serve(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, n) })
	ask := func(service string, port int) subject {
		s := asks(grpcProbe(service)).at(port)
		s.spec.GRPC.Port = int32(port)
		return s
	}
	w.expect(t, ask("", port), success, "service healthy")
	if !strings.HasPrefix(n.agent, "kube-probe/1.36 ") {
		t.Errorf("user agent %q", n.agent)
	}
	w.expect(t, ask("sick", port), failure, `service unhealthy (responded with "NOT_SERVING")`)
	w.expect(t, ask("who", port), failure, "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service")
	w.expect(t, ask("hangs", port).within(3), failure, "timeout: health rpc did not complete within 3s")
	w.expect(t, ask("", serve(t, func(*grpc.Server) {})), failure,
		"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health")
	s := ask("", 1)
	s.container.Ports[1].ContainerPort = 1
	w.expect(t, s.within(1), failure, `timeout: failed to connect service "127.0.0.1:PORT" within 1s: context deadline exceeded`)
}

// A server that begins to listen in time is found, as with any connection that
// is refused at first.
func TestGRPCComesUp(t *testing.T) {
	w := newWard(t)
	port := serve(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, &nurse{}) })
	s := asks(grpcProbe("")).at(port)
	s.spec.GRPC.Port = int32(port)
	dial, refusals := w.dial, 1
	w.dial = func(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error) {
		if refusals > 0 {
			refusals--
			return net.Dial("tcp", "127.0.0.1:1")
		}
		return dial(ctx, uid, addr)
	}
	w.expect(t, s, success, "service healthy")
}
