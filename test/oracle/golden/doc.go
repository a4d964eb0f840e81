// Package golden reduces what was seen of a pod to what must be the same on
// kubelet and on davit, and tells two of these reductions apart.
//
// A golden has three parts: facets, the final status, and events. A facet is one
// thing that changes (the phase, a condition, a container's state), as the
// sequence of the values that it had. The final status says which fields are
// set; what facets tell already is left out of it.
//
// # Decisions
//
//   - Facets are compared one by one, never whole statuses: kubelet asks its
//     runtime once a second and merges updates, so which changes come together
//     is chance. What a single thing went through is not.
//   - What may be missed is marked by "~". A terminated container that is started
//     again may be seen or not (kubelet starts it within the second, and shows a
//     crash as terminated until its next sync); so may ContainerCreating and
//     PodInitializing before something else. Facets that follow from these share
//     the mark. What is marked may be absent on either side; if both have
//     something in the same place, it must agree.
//   - A message is compared word for word, but for names, IDs, addresses and
//     durations. Messages of ContainerCreating and PodInitializing are not:
//     kubelet has none, davit says why.
//   - Events are in the order of their first occurrence, per container.
//
// # Out of scope
//
// How long things take.
package golden
