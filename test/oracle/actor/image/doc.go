// Package image makes the image of which the containers of scenarios are made:
// the actor beside what the testbed's images have.
package image
