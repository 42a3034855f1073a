//! The services of a project, as an image.
//!
//! Not here: who serves what (the compiler's `services`).

use crate::project::Project;
use weir_compiler::cluster::Cluster;
use weir_compiler::services::{self, Compiled, Previous, ServicesError};
use weir_grammar::diagnostic::{Code, Diagnostic};

impl Project {
    /// Compiles the services for a node by its place in the cluster, or for no node in particular; after the image in force, if there is
    /// one.
    ///
    /// # Errors
    /// The services ask for something that no image can be; [`Project::refuse_services`] makes it a finding.
    pub fn compile_services(
        &self,
        node: Option<usize>,
        previous: Option<Previous<'_>>,
    ) -> Result<Compiled, ServicesError> {
        services::compile(&services::Input {
            node,
            previous,
            ..services::Input::new(&self.cluster, &self.sources)
        })
    }

    /// Adds the finding for services that have no image.
    ///
    /// # Errors
    /// The error itself, if it is not about what was read.
    pub fn refuse_services(&mut self, error: ServicesError) -> Result<(), ServicesError> {
        let finding = refused_services(&self.cluster, error)?;
        self.add([finding]);
        Ok(())
    }
}

/// The finding for services of a cluster that have no image.
///
/// # Errors
/// The error itself, if it is not about what was read.
pub fn refused_services(cluster: &Cluster, error: ServicesError) -> Result<Diagnostic, ServicesError> {
    let (code, place, label, help) = match &error {
        ServicesError::TooManyBackends { place, .. } => {
            (Code::TooManyBackends, *place, "this service", "divide it into several services")
        }
        ServicesError::TooLarge { place, .. } => (
            Code::ImageTooLarge,
            *place,
            "the largest service",
            "divide the cluster, or its largest services",
        ),
        _ => return Err(error),
    };
    let Some(service) = cluster.services.get(place) else { return Err(error) };
    Ok(Diagnostic::new(code, service.meta.span, error.to_string()).labelled(label).help(help))
}
