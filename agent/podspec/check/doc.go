// Package check holds the small steps that defaulting and validation of all
// kinds of objects are made of. Errors are those of Kubernetes' field package,
// so that they read as people know them.
package check
