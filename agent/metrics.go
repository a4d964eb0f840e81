package agent

import (
	goruntime "runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	v1 "k8s.io/api/core/v1"
)

// metrics is davit's own registry. Label values are a few fixed words, never
// names of pods: what a node exports does not grow with what it runs.
type metrics struct {
	registry *prometheus.Registry
	start    *prometheus.HistogramVec
	restarts prometheus.Counter
	pulls    *prometheus.HistogramVec
	probes   *prometheus.HistogramVec
}

// newMetrics registers everything; pods lists the pods as they are reported.
func newMetrics(version string, pods func() []*v1.Pod) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		start: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "davit_pod_start_duration_seconds",
			Help:    "Duration of the phases of starting a pod: record, setup, create and start (per container), and running, the whole from acceptance to phase Running.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"phase"}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "davit_container_restarts_total",
			Help: "Containers started again.",
		}),
	}
	m.pulls = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "davit_image_pull_duration_seconds",
		Help:    "Duration of image pulls from their begin, by result: success, error or cancelled.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900},
	}, []string{"result"})
	m.probes = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "davit_probe_duration_seconds",
		Help:    "Duration of probes, by kind (Startup, Liveness, Readiness) and result (successful, failed).",
		Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10},
	}, []string{"probe_type", "result"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "davit_build_info",
		Help:        "Always 1; the labels tell the build.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": goruntime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.start, m.restarts, m.pulls, m.probes, build, podCollector{pods},
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return m
}

// Phase implements pods.Metrics.
func (m *metrics) Phase(name string, d time.Duration) {
	m.start.WithLabelValues(name).Observe(d.Seconds())
}

// Restarted implements pods.Metrics.
func (m *metrics) Restarted() { m.restarts.Inc() }

// Probed implements probes.Metrics.
func (m *metrics) Probed(kind, result string, took time.Duration) {
	m.probes.WithLabelValues(kind, result).Observe(took.Seconds())
}

// ImagePulled implements images.Metrics.
func (m *metrics) ImagePulled(result string, took time.Duration) {
	m.pulls.WithLabelValues(result).Observe(took.Seconds())
}

var podsDesc = prometheus.NewDesc("davit_pods", "Pods of this node by phase.", []string{"phase"}, nil)

// podCollector counts the pods when it is scraped.
type podCollector struct{ pods func() []*v1.Pod }

// Describe implements prometheus.Collector.
func (c podCollector) Describe(ch chan<- *prometheus.Desc) { ch <- podsDesc }

// Collect implements prometheus.Collector.
func (c podCollector) Collect(ch chan<- prometheus.Metric) {
	n := map[v1.PodPhase]int{v1.PodPending: 0, v1.PodRunning: 0, v1.PodSucceeded: 0, v1.PodFailed: 0}
	for _, p := range c.pods() {
		n[p.Status.Phase]++
	}
	for phase, count := range n {
		ch <- prometheus.MustNewConstMetric(podsDesc, prometheus.GaugeValue, float64(count), string(phase))
	}
}
