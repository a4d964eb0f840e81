package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/server/wire"
)

// dialTimeout bounds connecting to a port of a pod. It is on loopback: whoever
// listens there and takes connections answers at once.
const dialTimeout = 10 * time.Second

// portForward carries one connection to a port of a pod. It connects before it
// answers, so that a refused connection is an answer like any other.
func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	pod, fail := s.find(r)
	if fail != nil {
		fail.reply(w)
		return
	}
	port, fail := forwardable(r, pod)
	if fail != nil {
		fail.reply(w)
		return
	}
	local, fail := s.dialPod(r.Context(), pod, port)
	if fail != nil {
		fail.reply(w)
		return
	}
	conn, in, err := s.upgrade(w, wire.ForwardProtocol, "")
	if err != nil {
		local.Close()
		internal(err).reply(w)
		return
	}
	defer s.sessions.remove()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	defer context.AfterFunc(r.Context(), func() { cancel(errors.New("davit is leaving; the pod lives on")) })()
	if err := wire.Tunnel(ctx, conn, in, local); err != nil {
		s.opts.Logger.Debug("forwarded connection broke", "pod", pod.Name, "port", port, "error", err)
	}
}

// forwardable returns the port of a request that can be carried out.
func forwardable(r *http.Request, pod *v1.Pod) (uint16, *failure) {
	q := r.URL.Query()
	port, err := strconv.ParseUint(q.Get("port"), 10, 16)
	if err != nil || port == 0 {
		return 0, badRequest("parameter port: %q is not a port number from 1 to 65535", q.Get("port"))
	}
	if uid := q.Get("uid"); uid != "" && uid != string(pod.UID) {
		return 0, &failure{http.StatusConflict, metav1.StatusReasonConflict,
			fmt.Sprintf("pod %s is another one by now: its UID is %s", pod.Name, pod.UID)}
	}
	if pod.Status.Phase != v1.PodRunning {
		return 0, badRequest("unable to forward port because pod is not running. Current status=%v", pod.Status.Phase)
	}
	return uint16(port), upgrades(r, wire.ForwardProtocol)
}

// dialPod connects to a port on the pod's loopback.
func (s *Server) dialPod(ctx context.Context, pod *v1.Pod, port uint16) (wire.HalfConn, *failure) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := s.opts.Dialer.Dial(ctx, string(pod.UID), port)
	if err == nil {
		if half, ok := conn.(wire.HalfConn); ok {
			return half, nil
		}
		conn.Close()
		return nil, internal(fmt.Errorf("connection to port %d in pod %s cannot be half closed", port, pod.Name))
	}
	text := fmt.Sprintf("failed to connect to localhost:%d inside pod %s: ", port, pod.Name)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		text += "connection refused: nothing listens there, neither on 127.0.0.1 nor on ::1"
	case errors.Is(err, context.DeadlineExceeded):
		text += fmt.Sprintf("no answer within %s: whoever listens there takes no connections", dialTimeout)
	default:
		text += oneLine(err.Error())
	}
	return nil, &failure{http.StatusBadGateway, metav1.StatusReasonServiceUnavailable, text}
}
