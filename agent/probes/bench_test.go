package probes

import (
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// What one probe costs, the server's part included.
func BenchmarkProbe(b *testing.B) {
	w := newWard(b)
	server := httptest.NewServer(clinic(""))
	b.Cleanup(server.Close)
	web := portOfServer(b, server.URL)
	health := serve(b, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, &nurse{}) })
	rpc := asks(grpcProbe("")).at(health)
	rpc.spec.GRPC.Port = int32(health)
	for name, s := range map[string]subject{"http": asks(httpGet(nil)).at(web), "tcp": asks(tcpSocket("")).at(web), "grpc": rpc} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found, message := w.probe(b.Context(), s); found != healthy {
					b.Fatal(message)
				}
			}
		})
	}
}
