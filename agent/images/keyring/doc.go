// Package keyring finds the credentials for an image: in docker's config.json,
// as the node keeps it or a pull secret holds it.
//
//	config.json ---Parse---> Keyring --Lookup(image)--> credentials, problems
//	pull secrets --Secrets-->   |
//	file of the node --File-----'   (read again when it changes)
//
// An entry is named by a registry, with or without scheme, port and path, and is
// for an image as kubelet has it:
//
//	registry.example        registry.example/anything, but not :5000
//	registry.example:5000   that port only
//	*.example               a glob stands for one label, or a part of one
//	registry.example/team   the path is a prefix of the image's, in characters:
//	                        /team is for /team/app and for /teamwork too
//	index.docker.io         docker.io, as is https://index.docker.io/v1/
//
// All entries that match are tried, in descending order of their names, which
// puts a longer path before a shorter one and globs last.
//
// Decisions:
//
//   - One broken entry does not spoil the others: Lookup returns what it found
//     and, beside that, the problems that may be why it found too little. A
//     problem tells where (file, secret, key, registry), and never what was read
//     there, not a character of it: text of encoding/json's errors does.
//   - identitytoken and registrytoken are taken, which kubelet does not do.
//   - Credential helpers (credHelpers, credsStore) are programs that run as root
//     for whoever can edit the file; they are refused by name.
//   - What is broken after a change does not replace what was good before it.
//
// Out of scope: sending credentials (runtime/containerd), deciding which secrets
// a pod has.
package keyring
